//! The one error type of the crate.

use std::path::PathBuf;

use crate::hub::HubError;
use crate::strict::StrictReport;

/// Everything that can keep a model from being named, found, read or loaded.
///
/// `origin` is the file (or the label of an embedded model) the message is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A model name that the grammar of [`crate::ModelSource`] does not have.
    #[error("model name '{name}': {problem}")]
    Source {
        /// The name as given.
        name: String,
        /// What is wrong with it, and the way out.
        problem: String,
    },
    /// A name that is in no manifest.
    #[error("unknown model '{name}'{}", did_you_mean(nearest))]
    UnknownModel {
        /// The name as given.
        name: String,
        /// The closest known names, best first.
        nearest: Vec<String>,
    },
    /// A model that timm once had, and whose network and weights it has removed.
    #[error("timm has dropped the model '{name}', network and weights; use {} instead", instead.join(" or "))]
    DroppedModel {
        /// The name as given.
        name: String,
        /// What comes nearest to it, best first.
        instead: Vec<String>,
    },
    /// A manifest that cannot be used: the entry and field are named.
    #[error("manifest {file}, entry {entry}, field {field}: {problem}")]
    Manifest {
        /// The manifest's path, or `built-in`.
        file: String,
        /// The entry's name, or `#n` where it has none.
        entry: String,
        /// The field, or `-` when the entry as a whole is meant.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A `config.json` that cannot be used: the field is named.
    #[error("{origin}: field {field}: {problem}")]
    Config {
        /// The file.
        origin: String,
        /// The field, with dots between levels.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An architecture this crate has no network for.
    #[error("unknown architecture '{name}'{}", did_you_mean(nearest))]
    UnknownArchitecture {
        /// The name as given.
        name: String,
        /// The closest known names, best first.
        nearest: Vec<String>,
    },
    /// A folder or repository without any weights file known to timm.
    #[error("{place}: no weights file found (looked for {})", looked_for.join(", "))]
    NoWeights {
        /// The folder or repository.
        place: String,
        /// The names that were tried.
        looked_for: Vec<String>,
    },
    /// A file that is not a checkpoint at all.
    #[error("{origin}: not a checkpoint: {problem}")]
    Format {
        /// The file.
        origin: String,
        /// What it seems to be instead.
        problem: String,
    },
    /// A safetensors header that lies or cannot be read.
    #[error("{origin}: safetensors header: {problem}")]
    Header {
        /// The file.
        origin: String,
        /// What is wrong, with the tensor's name where one is concerned.
        problem: String,
    },
    /// A shard index (`*.index.json`) that cannot be used.
    #[error("{origin}: shard index: {problem}")]
    Index {
        /// The index file.
        origin: String,
        /// What is wrong.
        problem: String,
    },
    /// A `.pth` zip archive that cannot be used.
    #[error("{origin}: zip archive: {problem}")]
    Zip {
        /// The file.
        origin: String,
        /// What is wrong, with the record's name where one is concerned.
        problem: String,
    },
    /// A pickle that cannot be read.
    #[error("{origin}: pickle, byte {offset}: {problem}")]
    Pickle {
        /// The file.
        origin: String,
        /// Where in the pickle.
        offset: usize,
        /// What is wrong.
        problem: String,
    },
    /// A pickle that names something outside the allow-list. Nothing was called.
    #[error(
        "{origin}: the pickle refers to `{global}`, which is not on the list of harmless types; nothing was executed. \
         Save the state dict alone (torch.save(model.state_dict(), ...)) or as safetensors"
    )]
    ForbiddenGlobal {
        /// The file.
        origin: String,
        /// `module.name` of the global.
        global: String,
    },
    /// A tensor whose description does not fit its storage.
    #[error("{origin}: tensor {tensor}: {problem}")]
    Tensor {
        /// The file.
        origin: String,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        problem: String,
    },
    /// A value that no weight can have. Nothing is computed with it: every answer would be as wrong.
    #[error("{origin}: tensor {tensor}: the value at {index:?} is {value}: {problem}")]
    Value {
        /// The file.
        origin: String,
        /// The tensor.
        tensor: String,
        /// The element's place, an index for each axis.
        index: Vec<usize>,
        /// The value.
        value: f64,
        /// What is wrong with it, and the way out.
        problem: &'static str,
    },
    /// A file that is no longer the one that was opened.
    #[error(
        "{origin}: the file was changed while {what} was read from it: {how}; load it again when it is complete"
    )]
    Changed {
        /// The file.
        origin: String,
        /// What was to be read: a tensor, or a part of the file.
        what: String,
        /// How the change showed.
        how: String,
    },
    /// Two tensors of one name.
    #[error("{origin}: tensor {tensor} appears twice ({first} and {second})")]
    Duplicate {
        /// The file.
        origin: String,
        /// The name both have.
        tensor: String,
        /// Where the first one is, or its name before prefixes were removed.
        first: String,
        /// The same for the second.
        second: String,
    },
    /// int8 was asked for, and the checkpoint has no 8-bit weights.
    #[error(
        "{origin} is not quantised and cannot be computed in int8: make a quantised checkpoint of it with `resnest quantize`, \
         or take another precision, such as bf16"
    )]
    NotQuantized {
        /// The file.
        origin: String,
    },
    /// A checkpoint that does not fit the network; every difference is in the report.
    #[error("{0}")]
    Strict(Box<StrictReport>),
    /// The first convolution cannot be adapted to the asked number of channels.
    #[error("in_chans={asked}: {problem}")]
    InChans {
        /// The channels asked for.
        asked: usize,
        /// Why not.
        problem: String,
    },
    /// The hub could not give a file.
    #[error(transparent)]
    Hub(Box<HubError>),
    /// A file of the hub's cache that cannot be used. It is not fetched again while it is there.
    #[error("{source}; the file is in the hub's cache: delete {} to have it fetched again", file.display())]
    Cached {
        /// The file to delete.
        file: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A downloaded file is not the one the manifest names.
    #[error("{}: sha256 is {found}, the manifest says {wanted}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The manifest's sha256.
        wanted: String,
        /// The file's.
        found: String,
    },
    /// candle failed to build or hold a tensor.
    #[error("{}", without_backtrace(.0))]
    Candle(#[from] candle_core::Error),
    /// The network refused its configuration.
    #[error("the network cannot be built: {}", model_problem(.0))]
    Model(#[source] Box<resnest_model::Error>),
    /// A type that no network computes in.
    #[error("{asked:?} is no type to compute in; f32, f16, bf16 and f64 are")]
    ComputeType {
        /// The type asked for.
        asked: candle_core::DType,
    },
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What to answer to one who asked for a model. At most one of them is true; where none is, an option, a
/// setting or this machine is at fault, as the message says.
impl Error {
    /// The hub, or the network on the way to it, gave no usable answer, or may not be asked (offline mode, or a
    /// build without the feature `hub`), and the cache does not have the file. Trying again may help.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Hub(error) if error.is_unreachable())
    }

    /// The name is at fault: it is misspelled, no model of it can be had, or there is no such repository or
    /// revision.
    pub fn is_unknown_model(&self) -> bool {
        match self {
            Self::Source { .. }
            | Self::UnknownModel { .. }
            | Self::DroppedModel { .. }
            | Self::UnknownArchitecture { .. } => true,
            Self::Hub(error) => error.is_unknown_repository(),
            _ => false,
        }
    }

    /// A file or folder that the name leads to is not there: on this machine, or in a repository that is.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Self::NoWeights { .. } => true,
            Self::Hub(error) => matches!(**error, HubError::EntryNotFound { .. }),
            _ => false,
        }
    }

    /// The checkpoint was found, but its bytes are malformed or its weights do not fit the network.
    pub fn is_bad_checkpoint(&self) -> bool {
        match self {
            Self::Format { .. }
            | Self::Header { .. }
            | Self::Index { .. }
            | Self::Zip { .. }
            | Self::Pickle { .. }
            | Self::ForbiddenGlobal { .. }
            | Self::Tensor { .. }
            | Self::Value { .. }
            | Self::Duplicate { .. }
            | Self::Strict(_)
            | Self::Checksum { .. } => true,
            Self::Cached { source, .. } => source.is_bad_checkpoint(),
            _ => false,
        }
    }
}

impl From<HubError> for Error {
    fn from(source: HubError) -> Self {
        Error::Hub(Box::new(source))
    }
}

/// A message of candle's in one line: with `RUST_BACKTRACE` set its `Display` ends in a backtrace, which would
/// stand in the middle of ours. The error itself, with the backtrace, is the `source`.
fn without_backtrace(error: &candle_core::Error) -> String {
    use candle_core::Error as E;
    match error {
        E::WithBacktrace { inner, .. } => without_backtrace(inner),
        E::WithPath { inner, path } => format!("{}: {}", path.display(), without_backtrace(inner)),
        E::Context { inner, context } => format!("{context}: {}", without_backtrace(inner)),
        other => other.to_string(),
    }
}

fn model_problem(error: &resnest_model::Error) -> String {
    match error {
        resnest_model::Error::Candle(error) => without_backtrace(error),
        other => other.to_string(),
    }
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// Up to three of `known` that resemble `name`, best first.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(name, k), k))
        .filter(|(score, _)| *score > 0.75)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored
        .into_iter()
        .take(3)
        .map(|(_, k)| k.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::backtrace::Backtrace;
    use std::error::Error as _;

    use super::*;

    /// As with `RUST_BACKTRACE=1`.
    #[test]
    fn backtraces_stay_out_of_messages_and_in_sources() {
        let candle = || candle_core::Error::WithBacktrace {
            inner: Box::new(candle_core::Error::Msg("no such tensor".into())),
            backtrace: Box::new(Backtrace::force_capture()),
        };
        let traced = candle().to_string();
        assert!(traced.lines().count() > 1);
        let error = Error::from(candle());
        assert_eq!(error.to_string(), "no such tensor");
        assert_eq!(
            error.source().unwrap().to_string().lines().next(),
            traced.lines().next()
        );
        let error = Error::Model(Box::new(candle().into()));
        assert_eq!(
            error.to_string(),
            "the network cannot be built: no such tensor"
        );
        assert!(error.source().is_some());
    }
}
