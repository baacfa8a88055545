//! timm's ResNeSt image classifiers in Rust: the same weights, the same pixels, the same logits.
//!
//! ```
//! use resnest::Classifier;
//!
//! # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/resnest/demo/photos/chelsea.png");
//! // "demo" is embedded; "resnest50d.in1k" or "hf-hub:user/repo" are downloaded once and cached.
//! let classifier = Classifier::builder("demo").load()?;
//! let best = &classifier.classify(&std::fs::read(photo)?, 1)?[0];
//! assert_eq!(best.label, "cat");
//! println!("{} {:.1}%", best.label, 100.0 * best.probability);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Classifier`] goes the whole way from encoded bytes to predictions; [`explain`] shows where it saw them;
//! [`verify`] holds a network against a recorded reference; [`create_model`] gives the network alone. The
//! parts are crates of their own, re-exported here: [`image`] (decoding and preprocessing, equal to Pillow), [`model`]
//! (the networks), [`loader`] and [`hub`] (names, checkpoints, downloads).
#![forbid(unsafe_code)]

pub mod dataset;
pub mod demo;
pub mod explain;
pub mod features;
pub mod output;
pub mod validate;
pub mod verify;

mod builder;
mod classifier;
mod create;
mod device;
mod error;
mod imagenet;
mod labels;
mod npy;
mod options;
mod picture;
pub mod pipeline;
mod prediction;

pub use builder::{ClassifierBuilder, InputSize};
pub use classifier::{Classifier, MOST_THREADS, Pixels};
pub use create::{create_model, loader as model_loader};
pub use device::{DeviceChoice, device_name};
pub use error::{Error, with_causes};
pub use labels::Labels;
pub use options::{ClassifierOptions, ModelOptions, TransformOverrides};
pub use picture::Picture;
pub use pipeline::{Answered, Logits, Pipeline, Task, TopK};
pub use prediction::{Prediction, top_k};

pub use candle_core;
pub use resnest_image as image;
pub use resnest_image::{CropMode, Image, Interpolation, Limits, Transform};
pub use resnest_loader as loader;
pub use resnest_loader::hub;
pub use resnest_loader::{HeadPolicy, ModelSource, Overrides};
pub use resnest_model as model;
pub use resnest_model::{Precision, ResNet, ResNetConfig};
