//! Rows of features to a file, one after the other.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::file_list::FileList;
use super::{npy, parquet, safetensors};

/// The three formats, by the ending of the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureFormat {
    /// numpy's: an f32 array (N, …). Names and errors are in a list beside it.
    Npy,
    /// `features`, f32 (N, …), and `valid`, bool (N); names in the metadata's `files`, errors in a list beside it.
    Safetensors,
    /// Columns `file`, `features` (a list of f32, in C order; null for a broken image) and `error`.
    Parquet,
}

impl FromStr for FeatureFormat {
    type Err = String;

    /// The format of a file of this name.
    fn from_str(name: &str) -> Result<Self, String> {
        match Path::new(name).extension().and_then(|e| e.to_str()) {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(format!(
                "{name:?} has none of the endings .npy, .safetensors and .parquet, which say the format"
            )),
        }
    }
}

/// What is known of a file of features before its first row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureTable {
    /// The model they are of.
    pub model: String,
    /// The layer, as [`super::Layer`] is written.
    pub layer: String,
    /// One row's shape.
    pub shape: Vec<usize>,
    /// What each row is of, in order.
    pub files: Vec<String>,
}

impl FeatureTable {
    /// Values of a row.
    pub(super) fn width(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape of all rows.
    pub(super) fn whole_shape(&self) -> Vec<usize> {
        let mut shape = vec![self.files.len()];
        shape.extend(&self.shape);
        shape
    }
}

/// What can go wrong with a file of features.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The format has no room for it.
    #[error("cannot write {}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// A row that is not like the table.
    #[error("{file}: {got} features, the table has {expected} a row")]
    Width {
        /// The image.
        file: String,
        /// The row's.
        got: usize,
        /// The table's.
        expected: usize,
    },
    /// More or fewer rows than files.
    #[error("{written} rows for {expected} files")]
    Rows {
        /// How many were written, counting the one too many.
        written: usize,
        /// How many there are names for.
        expected: usize,
    },
}

/// Why a part of a file could not be written, before the path is known.
#[derive(Debug)]
pub(super) enum Problem {
    Io(std::io::Error),
    Format(String),
}

impl From<std::io::Error> for Problem {
    fn from(source: std::io::Error) -> Self {
        Self::Io(source)
    }
}

/// One format's way to take rows; `None` is a broken image's.
pub(super) trait Rows {
    fn push(&mut self, file: &str, row: Result<&[f32], &str>) -> Result<(), Problem>;
    fn finish(self: Box<Self>) -> Result<(), Problem>;
}

/// Writes a file of features row by row.
///
/// The file is called `OUT.part` until [`FeatureWriter::finish`], so that a file called `OUT` is always whole. A broken
/// image has a row too: null in Parquet, NaN in the formats that have no null.
pub struct FeatureWriter {
    path: PathBuf,
    part: PathBuf,
    table: FeatureTable,
    rows: Box<dyn Rows>,
    list: Option<FileList>,
    written: usize,
}

impl FeatureWriter {
    /// Begins a file; the ending of `path` says the format.
    ///
    /// # Errors
    /// [`WriteError::Format`] for another ending, or more names than a safetensors header can hold; what the system
    /// says.
    pub fn create(path: &Path, table: FeatureTable) -> Result<Self, WriteError> {
        let failed = |problem| error(path, problem);
        let format = path.to_string_lossy().parse::<FeatureFormat>();
        let format = format.map_err(|reason| failed(Problem::Format(reason)))?;
        let part = with_ending(path, ".part");
        let file = File::create(&part).map_err(|e| failed(e.into()))?;
        let out = BufWriter::new(file);
        let rows: Box<dyn Rows> = match format {
            FeatureFormat::Npy => Box::new(npy::Npy::begin(out, &table).map_err(failed)?),
            FeatureFormat::Safetensors => {
                Box::new(safetensors::Tensors::begin(out, &table).map_err(failed)?)
            }
            FeatureFormat::Parquet => {
                Box::new(parquet::Parquet::begin(out, &table).map_err(failed)?)
            }
        };
        let list = match format {
            FeatureFormat::Parquet => None,
            _ => Some(FileList::create(&Self::list_path(path)).map_err(failed)?),
        };
        Ok(Self {
            path: path.to_owned(),
            part,
            rows,
            list,
            table,
            written: 0,
        })
    }

    /// The list of names and errors beside a .npy or a .safetensors file: `row,file,error`, rows counted from 0.
    pub fn list_path(path: &Path) -> PathBuf {
        with_ending(path, ".files.csv")
    }

    /// The next image's features, or why it has none.
    ///
    /// # Errors
    /// [`WriteError::Width`], [`WriteError::Rows`]; what the system says.
    pub fn push(&mut self, row: Result<&[f32], &str>) -> Result<(), WriteError> {
        let (written, expected) = (self.written + 1, self.table.files.len());
        let Some(file) = self.table.files.get(self.written) else {
            return Err(WriteError::Rows { written, expected });
        };
        let width = self.table.width();
        if let Some(got) = row.ok().map(<[f32]>::len).filter(|&got| got != width) {
            return Err(WriteError::Width {
                file: file.clone(),
                got,
                expected: width,
            });
        }
        if let Some(list) = &mut self.list {
            list.push(self.written, file, row.err())
                .map_err(|e| error(&self.path, e))?;
        }
        let pushed = self.rows.push(file, row);
        self.written = written;
        pushed.map_err(|e| error(&self.path, e))
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    /// [`WriteError::Rows`] if rows are missing; what the system says.
    pub fn finish(self) -> Result<(), WriteError> {
        let (written, expected) = (self.written, self.table.files.len());
        if written != expected {
            return Err(WriteError::Rows { written, expected });
        }
        let failed = |problem| error(&self.path, problem);
        self.rows.finish().map_err(failed)?;
        if let Some(list) = self.list {
            list.finish().map_err(failed)?;
        }
        std::fs::rename(&self.part, &self.path).map_err(|e| failed(e.into()))
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn error(path: &Path, problem: Problem) -> WriteError {
    let path = path.to_owned();
    match problem {
        Problem::Io(source) => WriteError::Io { path, source },
        Problem::Format(reason) => WriteError::Format { path, reason },
    }
}
