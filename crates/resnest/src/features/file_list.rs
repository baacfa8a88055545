//! The names and errors of rows, for formats that have no column for them.

use std::fs::File;

use super::writer::Problem;

/// A CSV file `row,file,error`.
pub(super) struct FileList(csv::Writer<File>);

impl FileList {
    pub(super) fn begin(out: File) -> Result<Self, Problem> {
        let mut rows = csv::Writer::from_writer(out);
        rows.write_record(["row", "file", "error"])
            .map_err(problem)?;
        Ok(Self(rows))
    }

    pub(super) fn push(
        &mut self,
        row: usize,
        file: &str,
        error: Option<&str>,
    ) -> Result<(), Problem> {
        let record = [&row.to_string(), file, error.unwrap_or_default()];
        self.0.write_record(record).map_err(problem)
    }

    pub(super) fn finish(mut self) -> Result<(), Problem> {
        Ok(self.0.flush()?)
    }
}

fn problem(error: csv::Error) -> Problem {
    Problem::Io(error.into())
}
