//! Why a data set cannot be used.

use std::path::PathBuf;

use super::files::IMAGE_ENDINGS;

/// Errors of [`super::Dataset`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a file, a folder nor a pattern that matches.
    #[error(
        "{data} is not there: give a folder of class folders, a .tar, or a pattern such as 'shards/{{000..146}}.tar'"
    )]
    NotFound {
        /// What was asked for.
        data: String,
    },
    /// A pattern that stands for nothing.
    #[error("{data:?} is no pattern of archives: {reason}")]
    Pattern {
        /// What was asked for.
        data: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No image at all.
    #[error("no images in {data} (looked for .{})", IMAGE_ENDINGS.join(" ."))]
    Empty {
        /// Where they were looked for.
        data: String,
    },
    /// An image beside the class folders rather than in one.
    #[error(
        "{file} lies in no class folder: an image's class is the name of the folder it lies in"
    )]
    NoClass {
        /// The first such image.
        file: String,
    },
    /// A folder or an archive that cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The archive or folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
