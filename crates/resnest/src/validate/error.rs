//! Why a validation cannot be done.

use std::path::PathBuf;

/// Errors of [`super::Evaluation`] and what it is made from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network failed on a batch.
    #[error(transparent)]
    Compute(#[from] crate::Error),
    /// A file with labels, classes or earlier outcomes that cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where there is one.
        reason: String,
    },
    /// Some class folders are known, these are not.
    #[error(
        "{place} has no class called {}, but there are such class folders: say which index each folder is with \
         --class-map, or move them away",
        listed(folders)
    )]
    UnknownClasses {
        /// The model or the class map.
        place: &'static str,
        /// The folders' names.
        folders: Vec<String>,
    },
    /// The folders cannot be told apart by number alone.
    #[error(
        "{folders} class folders for a model of {classes} classes, and no folder is called as one of its classes \
         ({} …): give --class-map, a text file with the folder of class 0 in its first line and so on",
        listed(examples)
    )]
    ClassCount {
        /// How many folders there are.
        folders: usize,
        /// How many classes the model has, or how many are valid.
        classes: usize,
        /// Some of the model's class names.
        examples: Vec<String>,
    },
    /// A class index that the model does not have.
    #[error("{what} is class {index}, but the model has classes 0 to {}", classes.saturating_sub(1))]
    ClassIndex {
        /// The image, folder or line that says so.
        what: String,
        /// The index.
        index: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// A class outside the valid labels.
    #[error("{what} is class {index}, which is not among the --valid-labels")]
    NotValid {
        /// The image or folder.
        what: String,
        /// The class.
        index: usize,
    },
    /// A file name that is not one of ImageNet's validation set.
    #[error(
        "{file} has no ReaL labels: they go with files named ILSVRC2012_val_00000001.JPEG to …{last:08}.JPEG"
    )]
    NoRealLabels {
        /// The file.
        file: String,
        /// The last file's number.
        last: usize,
    },
    /// `strict`, and an image could not be read.
    #[error("{file}: {reason} (--strict stops here; {done} images were done before)")]
    Strict {
        /// The image.
        file: String,
        /// What is wrong with it.
        reason: String,
        /// How many had an outcome before.
        done: usize,
    },
    /// The report's template failed.
    #[error("the report cannot be written: {reason}")]
    Report {
        /// What the template engine says.
        reason: String,
    },
    /// Earlier outcomes of other images.
    #[error(
        "outcome {at} is of {recorded}, but image {at} of the data set is {present}: it is another data set, or has changed; start anew"
    )]
    Changed {
        /// The place in the data set, from 1.
        at: usize,
        /// The name in the earlier outcomes.
        recorded: String,
        /// The name in the data set.
        present: String,
    },
}

/// The first few, and how many more.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let some = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}
