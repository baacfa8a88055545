//! A model's accuracy on a data set: timm's `validate.py`, and what it does not say.
//!
//! ```
//! use std::ops::ControlFlow;
//! use resnest::dataset::Dataset;
//! use resnest::validate::{Evaluation, Options, Targets};
//! use resnest::Classifier;
//!
//! # let folder = tempfile::tempdir()?;
//! # let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/resnest/demo/photos");
//! # for (class, photo) in [("cat", "chelsea.png"), ("horse", "horse.png")] {
//! #     std::fs::create_dir(folder.path().join(class))?;
//! #     std::fs::copy(format!("{photos}/{photo}"), folder.path().join(class).join(photo))?;
//! # }
//! # let data = folder.path().display().to_string();
//! let classifier = Classifier::builder("demo").load()?;
//! let dataset = Dataset::open(&data)?;
//! let targets = Targets::new(&dataset, classifier.labels(), None, None)?;
//! let evaluation = Evaluation::new(&classifier, &dataset, targets, Options::default())?;
//! let result = evaluation.run(|_outcome| ControlFlow::Continue(()))?;
//! assert_eq!((result.images, result.failed, result.row.top1), (2, 0, Some(100.0)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Decoding, resizing and the network overlap, and memory does not grow with the number of images. An image that cannot
//! be read is counted apart and never replaced by another.
//!
//! `targets.rs` says which class of the model a label is, `evaluation.rs` runs the images through
//! [`crate::Pipeline`], `outcome.rs` is what comes of one, `tally.rs` and `calibration.rs` count, `validation.rs` is the result,
//! `outcomes_file.rs` lets an interrupted run go on, `report/` writes the page (feature `report`).

mod calibration;
mod error;
mod evaluation;
mod outcome;
mod outcomes_file;
mod real;
#[cfg(feature = "report")]
pub mod report;
mod tally;
mod targets;
mod validation;

pub use calibration::{BINS, CalibrationBin};
pub use error::Error;
pub use evaluation::{Evaluation, Options};
pub use outcome::{Answer, Outcome, Scored, TOP};
pub use outcomes_file::{Header, OutcomesFile};
pub use real::RealLabels;
pub use targets::{ClassMap, Targets, read_valid_labels};
pub use validation::{Agreement, ClassResult, Failure, Mistake, Own, Row, Timing, Validation};
