//! Rows of features to a file, one after the other.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::file_list::FileList;
#[cfg(feature = "parquet")]
use super::parquet::Parquet;
use super::{npy, safetensors};
use crate::output::{Output, finish_all, with_ending};

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
/// Until [`FeatureWriter::finish`] everything is in parts of other names ([`Output`]), so that a file called `OUT` is
/// always whole, and what was there before stays until then; dropped, it leaves nothing. No other run can write the same
/// file meanwhile. The list beside a file gets its name first: whoever is killed in between leaves a list without its
/// `OUT`, never two that do not belong together. A broken image has a row too: null in Parquet, NaN in the formats that
/// have no null.
pub struct FeatureWriter {
    out: Output,
    table: FeatureTable,
    rows: Box<dyn Rows>,
    list: Option<(FileList, Output)>,
    written: usize,
}

impl FeatureWriter {
    /// Begins a file; the ending of `path` says the format.
    ///
    /// # Errors
    /// As [`FeatureWriter::reserve`] and [`FeatureWriter::begin`].
    pub fn create(path: &Path, table: FeatureTable) -> Result<Self, WriteError> {
        Self::begin(Self::reserve(path)?, table)
    }

    /// The file, before it is known what will be in it: so a place that cannot be written to is found before there is any
    /// work to lose.
    ///
    /// # Errors
    /// [`WriteError::Format`] for another ending; what the system says; another run that writes the same file.
    pub fn reserve(path: &Path) -> Result<Output, WriteError> {
        format(path)?;
        Output::locked(path).map_err(|e| error(path, e.into()))
    }

    /// Begins the file that was reserved.
    ///
    /// # Errors
    /// [`WriteError::Format`] for more names than a safetensors header can hold; what the system says.
    pub fn begin(out: Output, table: FeatureTable) -> Result<Self, WriteError> {
        let path = out.path().to_owned();
        let failed = |problem| error(&path, problem);
        let format = format(&path)?;
        let file = BufWriter::new(out.file().map_err(|e| failed(e.into()))?);
        let rows: Box<dyn Rows> = match format {
            FeatureFormat::Npy => Box::new(npy::Npy::begin(file, &table).map_err(failed)?),
            FeatureFormat::Safetensors => {
                Box::new(safetensors::Tensors::begin(file, &table).map_err(failed)?)
            }
            #[cfg(feature = "parquet")]
            FeatureFormat::Parquet => Box::new(Parquet::begin(file, &table).map_err(failed)?),
            #[cfg(not(feature = "parquet"))]
            FeatureFormat::Parquet => return Err(error(&path, not_built())),
        };
        let list = match format {
            FeatureFormat::Parquet => None,
            _ => Some(list(&Self::list_path(&path))?),
        };
        Ok(Self {
            out,
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
        if let Some((list, out)) = &mut self.list {
            list.push(self.written, file, row.err())
                .map_err(|e| error(out.path(), e))?;
        }
        let pushed = self.rows.push(file, row);
        self.written = written;
        pushed.map_err(|e| error(self.out.path(), e))
    }

    /// Ends the file and gives it, and the list beside it, its name.
    ///
    /// # Errors
    /// [`WriteError::Rows`] if rows are missing; what the system says. What was there before is then still there.
    pub fn finish(self) -> Result<(), WriteError> {
        let (written, expected) = (self.written, self.table.files.len());
        if written != expected {
            return Err(WriteError::Rows { written, expected });
        }
        let path = self.out.path().to_owned();
        self.rows.finish().map_err(|e| error(&path, e))?;
        let mut outputs = Vec::new();
        if let Some((list, out)) = self.list {
            list.finish().map_err(|e| error(out.path(), e))?;
            outputs.push(out);
        }
        outputs.push(self.out);
        finish_all(outputs).map_err(|e| error(&path, e.into()))
    }
}

/// The format that a path's ending says.
fn format(path: &Path) -> Result<FeatureFormat, WriteError> {
    let format = path.to_string_lossy().parse::<FeatureFormat>();
    match format {
        Ok(FeatureFormat::Parquet) if cfg!(not(feature = "parquet")) => {
            Err(error(path, not_built()))
        }
        format => format.map_err(|reason| error(path, Problem::Format(reason))),
    }
}

#[cfg_attr(
    feature = "parquet",
    allow(dead_code, reason = "what builds without it answer")
)]
fn not_built() -> Problem {
    let reason =
        "this build has no Parquet (cargo feature `parquet`); .npy and .safetensors it has";
    Problem::Format(reason.to_owned())
}

fn list(path: &Path) -> Result<(FileList, Output), WriteError> {
    let failed = |problem| error(path, problem);
    let out = Output::locked(path).map_err(|e| failed(e.into()))?;
    let file = out.file().map_err(|e| failed(e.into()))?;
    Ok((FileList::begin(file).map_err(failed)?, out))
}

fn error(path: &Path, problem: Problem) -> WriteError {
    let path = path.to_owned();
    match problem {
        Problem::Io(source) => WriteError::Io { path, source },
        Problem::Format(reason) => WriteError::Format { path, reason },
    }
}
