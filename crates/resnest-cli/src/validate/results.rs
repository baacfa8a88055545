//! `--results-file` and `--report`: opened before the run, whole or not at all behind it.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Error, Result};
use resnest::output::Output;
use resnest::validate::report::{self, Pictures};
use resnest::validate::{Row, Validation};
use serde::Serialize;

use super::super::words::shown_path;
use super::args::{FileArgs, ResultsFormat};

/// The files that were asked for; until they are written, what was there stays.
pub struct Files {
    results: Option<Output>,
    report: Option<Output>,
}

impl Files {
    /// Opens them, so that a place that cannot be written to costs no run.
    pub fn open(args: &FileArgs) -> Result<Self> {
        let open = |path: &Option<std::path::PathBuf>| {
            let path = path.as_deref();
            path.map(|path| Output::locked(path).with_context(|| cannot(path)))
                .transpose()
        };
        Ok(Self {
            results: open(&args.results_file)?,
            report: open(&args.report)?,
        })
    }

    /// Writes each; one that cannot be written does not keep the other from it.
    pub fn write(
        self,
        args: &FileArgs,
        all: &[(Validation, Vec<Pictures>)],
        command: &str,
    ) -> Vec<Error> {
        let bytes = |of: &Option<Output>, make: &dyn Fn() -> Result<Option<Vec<u8>>>| match of {
            Some(_) => make(),
            None => Ok(None),
        };
        let table = bytes(&self.results, &|| rows(args, all));
        let page = bytes(&self.report, &|| {
            Ok(Some(report::html(all, Some(command))?.into_bytes()))
        });
        let written =
            [(self.results, table), (self.report, page)].map(|(output, bytes)| -> Result<()> {
                match (output, bytes?) {
                    (Some(output), Some(bytes)) => write(output, &bytes),
                    _ => Ok(()),
                }
            });
        written.into_iter().filter_map(Result::err).collect()
    }
}

fn write(mut output: Output, bytes: &[u8]) -> Result<()> {
    let path = output.path().to_owned();
    let written = output.write_all(bytes).and_then(|()| output.finish());
    written.with_context(|| cannot(&path))
}

fn cannot(path: &Path) -> String {
    format!("cannot write {}", shown_path(path))
}

/// The rows of the models that were gone through to their end and had images to count, best first; nothing without any.
fn rows(args: &FileArgs, all: &[(Validation, Vec<Pictures>)]) -> Result<Option<Vec<u8>>> {
    let mut rows: Vec<&Row> = all
        .iter()
        .filter(|(v, _)| !v.interrupted && v.counted())
        .map(|(v, _)| &v.row)
        .collect();
    let path = args.results_file.as_deref().unwrap_or(Path::new(""));
    if rows.is_empty() {
        return Ok(None);
    }
    let top1 = |row: &Row| row.top1.unwrap_or(0.0);
    rows.sort_by(|a, b| top1(b).total_cmp(&top1(a)));
    let by_ending = match path.extension().is_some_and(|ending| ending == "json") {
        true => ResultsFormat::Json,
        false => ResultsFormat::Csv,
    };
    let bytes = match args.results_format.unwrap_or(by_ending) {
        ResultsFormat::Csv => csv(&rows)?,
        ResultsFormat::Json => json(&rows)?,
    };
    Ok(Some(bytes))
}

/// With the line ends that Python's `csv` writes.
fn csv(rows: &[&Row]) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

/// One object for one model, an array for several, indented by four.
fn json(rows: &[&Row]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    match rows {
        [row] => row.serialize(&mut writer)?,
        rows => rows.serialize(&mut writer)?,
    }
    Ok(bytes)
}
