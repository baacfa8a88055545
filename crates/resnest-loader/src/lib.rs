//! Names, hub, checkpoints and strict loading for `resnest-model`.
//!
//! The way of a model: a [`ModelSource`] (what the user wrote) is [resolved](Loader::resolve) through the
//! [`Manifest`] or a [`ModelConfig`] to a [`Resolved`] (network, preparation of images, labels, place of the
//! weights); its [`Checkpoint`] is opened in place; a [strict check](check) compares every name, shape and
//! type; and only then is the network [built](Loader::load), one tensor at a time.
//!
//! ```no_run
//! use candle_core::{DType, Device};
//! use resnest_loader::{Loader, LoaderOptions, ModelSource, Overrides, hub::HubOptions};
//!
//! let loader = Loader::new(LoaderOptions::new(HubOptions::default()))?;
//! let source: ModelSource = "resnest50d.in1k".parse()?;
//! let resolved = loader.resolve(&source, &Overrides::default())?;
//! let loaded = loader.load(&resolved, &Device::Cpu, DType::F32)?;
//! # Ok::<(), resnest_loader::Error>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `source` | the grammar of names |
//! | `manifest` | the entries of `weights-manifest.toml` and of the user's files |
//! | `config` | `config.json`: schemas, labels, constructor arguments |
//! | [`hub`] | downloads and the cache |
//! | `checkpoint` | safetensors, shards, zip and legacy pickles, read as data |
//! | `strict`, `adapt` | what must fit, and what may change when asked |
//! | `loader` | all of it in order |
//! | `weights_cache` | packed weights in files that processes share |
//!
//! Nothing here prints, and nothing from outside can make it panic: whatever size or offset a file states is compared with
//! the file's length before it is used.
#![deny(unsafe_code)]

mod adapt;
mod backend;
mod checkpoint;
mod config;
mod error;
mod fields;
#[doc(hidden)]
pub mod fuzz;
pub mod hub;
mod loader;
mod manifest;
mod source;
mod strict;
mod weights_cache;

pub use adapt::HeadPolicy;
pub use checkpoint::quantized::{FORMAT as INT8_FORMAT, VERSION as INT8_VERSION};
pub use checkpoint::{Checkpoint, CheckpointFormat, ElementType, Stray, TensorEntry};
pub use config::{Labels, ModelConfig, PretrainedCfg};
pub use error::{Error, Result};
pub use loader::{
    LoadReport, Loaded, Loader, LoaderOptions, Overrides, Resolved, Weights, compute_type,
    load_cached, load_checkpoint, load_fused, resolve_parts,
};
pub use manifest::{Entry, Found, Manifest, OfficialFile};
pub use source::ModelSource;
pub use strict::{Misshaped, Missing, StrictReport, Unexpected, WrongType, check};
pub use weights_cache::{CacheUse, WeightsCache};
