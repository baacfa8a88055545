//! A .parquet file by the crate `parquet`, without its Arrow half: three columns are written as they are.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use parquet::basic::Encoding;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::writer::{FeatureTable, Problem, Rows};

/// A reader's `list<float>`, null for an image without features.
const SCHEMA: &str = "
message features {
    required binary file (UTF8);
    optional group features (LIST) { repeated group list { required float element; } }
    optional binary error (UTF8);
}";

/// Values of a row group: 4 MB, which are held in memory, with as much again for levels and pages each.
const GROUP_VALUES: usize = 1 << 20;
/// And its rows at most, however short they are.
const GROUP_ROWS: usize = 8192;

pub(super) struct Parquet {
    out: SerializedFileWriter<BufWriter<File>>,
    width: usize,
    /// Rows of a full group.
    group: usize,
    files: Vec<ByteArray>,
    /// The rows of the images that have one, in a row.
    values: Vec<f32>,
    /// An image's error, where it has one.
    errors: Vec<Option<ByteArray>>,
}

impl Parquet {
    pub(super) fn begin(out: BufWriter<File>, table: &FeatureTable) -> Result<Self, Problem> {
        let shape: Vec<String> = table.shape.iter().map(ToString::to_string).collect();
        let about = [
            ("model", table.model.clone()),
            ("layer", table.layer.clone()),
            ("shape", format!("[{}]", shape.join(", "))),
        ];
        let about = about.map(|(key, value)| KeyValue::new(key.to_owned(), value));
        let properties = WriterProperties::builder()
            // Features hardly ever repeat: a dictionary of them only costs.
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::PLAIN)
            .set_key_value_metadata(Some(about.into()))
            .build();
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        Ok(Self {
            out: SerializedFileWriter::new(out, schema, Arc::new(properties))?,
            width: table.width(),
            group: (GROUP_VALUES / table.width().max(1)).clamp(1, GROUP_ROWS),
            files: Vec::new(),
            values: Vec::new(),
            errors: Vec::new(),
        })
    }

    /// Writes what has come together as a row group.
    fn flush(&mut self) -> Result<(), Problem> {
        if self.files.is_empty() {
            return Ok(());
        }
        let (lists, starts) = self.levels();
        let failed: Vec<i16> = self.errors.iter().map(|e| e.is_some().into()).collect();
        let errors: Vec<ByteArray> = self.errors.iter().flatten().cloned().collect();
        let mut group = self.out.next_row_group()?;
        column::<ByteArrayType>(&mut group, &self.files, None, None)?;
        column::<FloatType>(&mut group, &self.values, Some(&lists), Some(&starts))?;
        column::<ByteArrayType>(&mut group, &errors, Some(&failed), None)?;
        group.close()?;
        self.files.clear();
        self.values.clear();
        self.errors.clear();
        Ok(())
    }

    /// Definition levels (0 no list, 1 an empty one, 2 a value) and repetition levels (0 begins a row) of the lists.
    fn levels(&self) -> (Vec<i16>, Vec<i16>) {
        let mut levels = (Vec::new(), Vec::new());
        for error in &self.errors {
            let (level, count) = match (error, self.width) {
                (Some(_), _) => (0, 1),
                (None, 0) => (1, 1),
                (None, width) => (2, width),
            };
            levels.0.extend(std::iter::repeat_n(level, count));
            levels.1.push(0);
            levels.1.extend(std::iter::repeat_n(1, count - 1));
        }
        levels
    }
}

/// The next column of the group.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, BufWriter<File>>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<(), Problem> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| Problem::Format("a column is missing".into()))?;
    column
        .typed::<T>()
        .write_batch(values, definition, repetition)?;
    Ok(column.close()?)
}

impl Rows for Parquet {
    fn push(&mut self, file: &str, row: Result<&[f32], &str>) -> Result<(), Problem> {
        self.files.push(file.into());
        self.values.extend_from_slice(row.unwrap_or_default());
        self.errors.push(row.err().map(ByteArray::from));
        match self.files.len() < self.group {
            true => Ok(()),
            false => self.flush(),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<(), Problem> {
        self.flush()?;
        Ok(self.out.into_inner()?.flush()?)
    }
}

impl From<ParquetError> for Problem {
    fn from(error: ParquetError) -> Self {
        Self::Format(error.to_string())
    }
}
