//! From a name to a network: resolve, fetch, load.

mod fetch;
mod load;
mod resolve;

use std::borrow::Cow;
use std::path::PathBuf;

use resnest_model::{PoolType, ResNetConfig};
use serde_json::{Map, Value, json};

pub(crate) use resolve::read_limited;

pub(crate) use load::Checked;
pub use load::{
    LoadReport, Loaded, compute_type, load_cached, load_checkpoint, load_fused, resolve_parts,
};

use crate::adapt::HeadPolicy;
use crate::config::{Labels, ModelConfig, PretrainedCfg};
use crate::error::Result;
use crate::hub::{Hub, HubOptions};
use crate::manifest::Manifest;
use crate::source::ModelSource;

/// Weights in a hub repository, the preferred one first (timm's order; the shard index is ours).
pub(crate) const HUB_FILES: [&str; 3] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
];

/// Where a [`Loader`] looks.
#[derive(Default)]
#[non_exhaustive]
pub struct LoaderOptions {
    /// Manifests of the user's, added to the built-in one in order.
    pub manifests: Vec<PathBuf>,
    /// Names of models that the caller has besides (an embedded one): a misspelling of them gets them as a
    /// suggestion.
    pub also_known: Vec<String>,
    /// Cache, endpoint, token, time limits.
    pub hub: HubOptions,
}

impl LoaderOptions {
    /// Options with this hub and no further manifest.
    pub fn new(hub: HubOptions) -> Self {
        Self {
            hub,
            ..Self::default()
        }
    }
}

/// Values to use in place of those of the model's own config. `None` leaves a value as it is.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Overrides {
    /// Classes of the head; 0 for none. See [`HeadPolicy`] for a number other than the checkpoint's.
    pub num_classes: Option<usize>,
    /// Input channels; the first convolution is adapted as in timm.
    pub in_chans: Option<usize>,
    /// The pool before the classifier.
    pub global_pool: Option<PoolType>,
    /// 8, 16 or 32.
    pub output_stride: Option<usize>,
    /// What to do with a classifier that does not fit.
    pub head: HeadPolicy,
    /// The hub revision, where the source itself names none.
    pub revision: Option<String>,
}

impl Overrides {
    /// Changes a network's configuration. Whether it can still be built is checked by its constructor.
    pub fn apply(&self, config: &mut ResNetConfig) {
        config.num_classes = self.num_classes.unwrap_or(config.num_classes);
        config.in_chans = self.in_chans.unwrap_or(config.in_chans);
        config.global_pool = self.global_pool.unwrap_or(config.global_pool);
        config.output_stride = self.output_stride.unwrap_or(config.output_stride);
    }
}

/// Where a resolved model's weights are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Weights {
    /// In a hub repository.
    Hub {
        /// `user/name`.
        repo: String,
        /// Branch, tag or commit; `main` when absent.
        revision: Option<String>,
        /// Names that the weights' file may have, the preferred one first.
        files: Vec<String>,
        /// The manifest's sha256 of the first file.
        sha256: Option<String>,
    },
    /// In a file on this machine.
    File(PathBuf),
    /// On no hub: to be downloaded by hand from here and given as a file.
    Url(String),
    /// In memory; `origin` names them in messages.
    Memory {
        /// The checkpoint's bytes.
        bytes: Cow<'static, [u8]>,
        /// Their name.
        origin: String,
    },
}

/// A model that has been named, configured and found, but not loaded.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Resolved {
    /// The name to show: `arch.tag`, the repository, the folder.
    pub name: String,
    /// timm's name of the network, without tag.
    pub architecture: String,
    /// Constructor arguments over the architecture's own, as in `config.json`, before any overrides.
    pub model_args: Map<String, Value>,
    /// The network, overrides applied.
    pub config: ResNetConfig,
    /// What goes with the weights. `input_size[0]` and `num_classes` are the checkpoint's, not the overrides'.
    pub pretrained: PretrainedCfg,
    /// Class names, when the source has them and the head is the checkpoint's.
    pub labels: Option<Labels>,
    /// Where the weights are.
    pub weights: Weights,
    /// What to do with a classifier that does not fit.
    pub head: HeadPolicy,
    /// What the user should know, such as an old name that was mapped.
    pub warnings: Vec<String>,
    /// The `config.json` the model came with, if any.
    pub model_config: Option<ModelConfig>,
}

impl Resolved {
    /// A `config.json` that describes the model, without overrides, in timm's schema.
    pub fn to_config(&self) -> Value {
        if let Some(config) = &self.model_config {
            return config.to_json();
        }
        let mut root = json!({
            "architecture": self.architecture,
            "num_classes": self.pretrained.num_classes,
        });
        if !self.model_args.is_empty() {
            root["model_args"] = Value::Object(self.model_args.clone());
        }
        root["pretrained_cfg"] = json!(self.pretrained);
        root
    }

    /// `arch.tag`, or the architecture alone where there is no tag.
    fn tagged_name(&self) -> String {
        match &self.pretrained.tag {
            Some(tag) => format!("{}.{tag}", self.architecture),
            None => self.architecture.clone(),
        }
    }
}

/// Names, hub and manifests in one place.
pub struct Loader {
    manifest: Manifest,
    hub: Hub,
}

impl Loader {
    /// Reads the manifests; does not touch the network.
    ///
    /// # Errors
    /// [`crate::Error::Manifest`] or [`crate::Error::Io`] for a manifest, [`crate::Error::Hub`] for unusable hub options.
    pub fn new(options: LoaderOptions) -> Result<Self> {
        let mut manifest = Manifest::builtin()?.also_known(options.also_known);
        for path in &options.manifests {
            manifest = manifest.with_file(path)?;
        }
        Ok(Self {
            manifest,
            hub: Hub::new(options.hub)?,
        })
    }

    /// All known weights.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The hub client.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Finds out everything about a model but its weights. Only a `hf-hub:` source may download, and that
    /// only `config.json`.
    ///
    /// # Errors
    /// Unknown names, configs that do not fit, and overrides the network cannot take.
    pub fn resolve(&self, source: &ModelSource, overrides: &Overrides) -> Result<Resolved> {
        let mut resolved = match source {
            ModelSource::Named(name) => self.named(name, overrides)?,
            ModelSource::Hub { repo, revision } => {
                self.repository(repo, revision.as_deref().or(overrides.revision.as_deref()))?
            }
            ModelSource::LocalDir(path) => resolve::folder(path)?,
            ModelSource::File { path, architecture } => {
                self.file(path, architecture.as_deref(), overrides)?
            }
        };
        resolve::apply(&mut resolved, overrides)?;
        Ok(resolved)
    }
}
