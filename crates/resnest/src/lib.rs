//! timm's ResNet-family image classifiers in Rust: the same weights, the same pixels, the same logits.
//!
//! ```
//! use resnest::Classifier;
//!
//! let classifier = Classifier::builder("demo").load()?;
//! let photo = std::fs::read("crates/resnest/demo/photos/chelsea.png")?;
//! let best = &classifier.classify(&photo, 1)?[0];
//! assert_eq!(best.label, "cat");
//! println!("{} {:.1}%", best.label, 100.0 * best.probability);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Preparing: which model, from where
//!
//! A model is asked for by name: `demo` (a small ResNeSt inside the library, feature `demo`), `resnest50d` or
//! `resnest50d.in1k` (an entry of the [manifest](loader::Manifest)), `hf-hub:user/repo[@revision]`, or `local-dir:path`. Weights
//! come from the Hugging Face hub, once, into the cache that Python shares, or from a file:
//!
//! ```no_run
//! use resnest::Classifier;
//!
//! let from_hub = Classifier::builder("resnest50d").load()?;
//! let from_file = Classifier::builder("resnest50d").checkpoint("resnest50-528c19ca.pth").load()?;
//! let without_network = Classifier::builder("hf-hub:timm/resnest14d.gluon_in1k").offline(true).load()?;
//! # Ok::<(), resnest::Error>(())
//! ```
//!
//! # Loading
//!
//! Preprocessing, labels and number of classes are the checkpoint's unless the [builder](ClassifierBuilder) says otherwise.
//! On the CPU the network is fused while it is read: norms folded, an algorithm chosen for every layer, weights packed.
//! Loading is strict: tensors that are missing, unexpected or misshaped are one error that names all of them.
//!
//! ```
//! use resnest::{Classifier, DeviceChoice, Precision};
//!
//! let classifier = Classifier::builder("demo")
//!     .device(DeviceChoice::Cpu)       // by default the best device that is compiled in and opens
//!     .threads(2)                      // by default as many as there are CPUs
//!     .input_size(96)                  // by default the checkpoint's
//!     .precision(Precision::Exact)     // by default `Fast`: Winograd's algorithms where they are faster
//!     .load()?;
//! assert_eq!((classifier.transform().size, classifier.threads()), ((96, 96), 2));
//! # Ok::<(), resnest::Error>(())
//! ```
//!
//! A [`Classifier`] is shared by threads as it is: every method takes `&self`.
//!
//! # Running
//!
//! | from | to the best classes | to logits |
//! |---|---|---|
//! | encoded bytes | [`Classifier::classify`] | [`Classifier::logits_batch`] |
//! | several of them | [`Classifier::classify_batch`] | [`Classifier::logits_batch`] |
//! | a decoded [`Picture`], in colour or gray | [`Classifier::classify_image`], [`Classifier::classify_images`] | |
//! | a normalised tensor (N, C, H, W) | [`Classifier::classify_tensor`] | [`Classifier::logits`] |
//!
//! # Many images
//!
//! [`Classifier::pipeline`] reads, decodes and computes images as they come, in order and in bounded memory; a broken one is an
//! error in its own place. What is computed is a [`Task`]: [`TopK`], [`Logits`], features, maps, or one of your own.
//!
//! ```
//! use std::ops::ControlFlow;
//! use resnest::{Classifier, Error, TopK};
//!
//! let classifier = Classifier::builder("demo").load()?;
//! let files = ["chelsea.png", "nothing.png", "horse.png"];
//! // Any error that one of this crate's can become: here for `std::fs::read`'s too.
//! let read = |name: &&str| -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
//!     Ok(std::fs::read(format!("crates/resnest/demo/photos/{name}"))?)
//! };
//! let mut labels = Vec::new();
//! classifier.pipeline().batch_size(32).run(files, read, &TopK(1), |batch| {
//!     for image in batch {
//!         labels.push(image.answer.map(|best| best[0].label.clone()).map_err(|error| error.to_string()));
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(labels[0].as_deref(), Ok("cat"));
//! assert!(labels[1].is_err());
//! # Ok::<(), Error>(())
//! ```
//!
//! # More than classes
//!
//! - [`Classifier::features`]: embeddings, or the map of a stage; [`features::FeatureWriter`] writes those of many images to
//!   one file.
//! - [`Classifier::cam`]: where in a photo a class was seen, exactly and without gradients; [`Classifier::split_weights`]: how
//!   each block weighed its splits. [`explain`] draws both.
//! - [`validate`]: accuracy on labelled images, as timm's `validate.py` counts it, over a [`dataset`].
//! - [`quantize`](mod@quantize): 8-bit integers in place of f32, calibrated on images.
//! - [`verify`](mod@verify): a network held against what timm computed, stage by stage.
//! - [`create_model`]: the network alone, timm's `create_model`; [`ResNetConfig`] for one of your own.
//!
//! ```
//! use resnest::explain::Classes;
//! use resnest::features::Layer;
//! use resnest::{Classifier, ModelOptions, create_model};
//!
//! let classifier = Classifier::builder("demo").load()?;
//! let photo = std::fs::read("crates/resnest/demo/photos/chelsea.png")?;
//! let embedding = classifier.features(&[&photo], Layer::PreLogits).remove(0)?;
//! assert_eq!(embedding.len(), 512);
//! let seen = classifier.cam(&photo, &Classes::Top(1))?;
//! assert_eq!(seen.maps[0].prediction.label, "cat");
//! let network = create_model("demo", &ModelOptions::default())?;
//! assert_eq!(network.config().num_classes, 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Errors
//!
//! [`Error`] is one enum that names the option, file, tensor or device and keeps its sources; [`Error::with_causes`] is the
//! whole message. Those who answer requests ask whose fault it is: [`Error::is_bad_image`], [`Error::is_unknown_model`],
//! [`Error::is_not_found`], [`Error::is_bad_checkpoint`], [`Error::is_unreachable`].
//!
//! ```
//! use resnest::Classifier;
//!
//! let classifier = Classifier::builder("demo").load()?;
//! let error = classifier.classify(b"no picture", 1).unwrap_err();
//! assert!(error.is_bad_image());
//! let error = Classifier::builder("resnest5od").load().unwrap_err();
//! assert!(error.is_unknown_model());
//! assert!(error.with_causes().contains("resnest50d")); // which it names as the nearest
//! # Ok::<(), resnest::Error>(())
//! ```
//!
//! # Features of the crate
//!
//! | feature | brings |
//! |---|---|
//! | `hub` (default) | downloads; without it, neither HTTP nor TLS is built, and models come from files and the cache |
//! | `demo` | the model `demo`, 2.6 MB |
//! | `parquet` | features as Parquet files |
//! | `report` | the HTML report of a validation |
//! | `cuda`, `cudnn`, `metal` | devices; `cuda` needs NVIDIA's driver to start at all, `metal` compiles on macOS alone |
//!
//! # The parts
//!
//! Each is a crate of its own, re-exported here: [`image`] (decoding and preprocessing, equal to Pillow), [`model`] (the
//! networks), [`loader`] and [`hub`] (names, checkpoints, downloads), and `resnest-kernels` (the CPU's operations) below them.
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
pub mod quantize;
mod threads;

pub use builder::{ClassifierBuilder, InputSize};
pub use classifier::{Classifier, Pixels};
pub use create::{Created, create_model, default_precision, loader as model_loader};
pub use device::{DeviceChoice, device_name};
pub use error::{Error, with_causes};
pub use labels::Labels;
pub use options::{ClassifierOptions, ModelOptions, TransformOverrides, precision_name};
pub use picture::Picture;
pub use pipeline::{Answered, Logits, Output, Outputs, Pipeline, Task, TopK};
pub use prediction::{Prediction, softmax, top_k};
pub use threads::{MOST_THREADS, Threads};

pub use candle_core;
pub use resnest_image as image;
pub use resnest_image::{CropMode, Image, Interpolation, Limits, Transform};
pub use resnest_loader as loader;
pub use resnest_loader::hub;
pub use resnest_loader::{CacheUse, HeadPolicy, ModelSource, Overrides, WeightsCache};
pub use resnest_model as model;
pub use resnest_model::{Precision, ResNet, ResNetConfig};

/// The example in the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
