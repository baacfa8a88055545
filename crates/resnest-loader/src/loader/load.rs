//! From a checkpoint to a network.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use resnest_model::{FuseChoices, FuseOptions, PackedStore, Precision, ResNet, ResNetConfig};

use super::resolve::{apply, from_config};
use super::{Loader, Overrides, Resolved, Weights};
use crate::adapt::Plan;
use crate::backend::{CheckpointBackend, Refused};
use crate::checkpoint::{Checkpoint, CheckpointFormat};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::strict::{StrictReport, compare};
use crate::weights_cache::{CacheUse, Entry, WeightsCache};

/// A network with its weights.
#[derive(Debug)]
pub struct Loaded {
    /// The network.
    pub model: ResNet,
    /// What was done to get there.
    pub report: LoadReport,
}

/// What a load did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// The checkpoint's layout.
    pub format: CheckpointFormat,
    /// The wrapper the weights were taken from, such as `state_dict_ema`.
    pub wrapper: Option<String>,
    /// The type the network computes in.
    pub dtype: DType,
    /// The first convolution's weight, when its channels were adapted.
    pub adapted: Option<String>,
    /// Tensors built anew.
    pub replaced: Vec<String>,
    /// Tensors of the checkpoint that were left out, as asked.
    pub dropped: Vec<String>,
    /// The strict check's result; always without differences.
    pub strict: StrictReport,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Where packed weights came from, or went to.
    pub weights_cache: CacheUse,
}

impl Loader {
    /// Fetches the weights if need be, checks them strictly, and builds the network on `device`.
    ///
    /// `dtype` is what to compute in; on the CPU f16 and bf16 become f32.
    ///
    /// # Errors
    /// [`Error::Strict`] with every difference, [`Error::Value`] for a weight that is not a finite number, or
    /// whatever keeps the weights from being had or read.
    pub fn load(&self, resolved: &Resolved, device: &Device, dtype: DType) -> Result<Loaded> {
        load_checkpoint(&self.open(resolved)?, resolved, device, dtype)
    }
}

/// Builds the network of `resolved` from an opened checkpoint. See [`Loader::load`].
///
/// Tensors go from the file to the device one by one; no second copy of the file is made. Each value is
/// looked at on its way.
///
/// # Errors
/// As [`Loader::load`].
pub fn load_checkpoint(
    checkpoint: &Checkpoint,
    resolved: &Resolved,
    device: &Device,
    dtype: DType,
) -> Result<Loaded> {
    let dtype = compute_type(device, dtype)?;
    let checked = Checked::new(checkpoint, resolved)?;
    let model = checked.network(device, dtype, None, ResNet::new)?;
    let report = checked.report(dtype);
    Ok(Loaded { model, report })
}

/// The same for the CPU in f32, with a network that is [fused](ResNet::fused) block by block as it
/// is read: all weights are in memory once, packed.
///
/// With [`Precision::Int8`] the scales of the layers' inputs are the checkpoint's; `options.quantization` is not looked at.
///
/// # Errors
/// As [`Loader::load`]; [`Error::NotQuantized`] for `Int8` of a checkpoint that `resnest quantize` has not made.
pub fn load_fused(
    checkpoint: &Checkpoint,
    resolved: &Resolved,
    options: &FuseOptions,
) -> Result<Loaded> {
    load_cached(checkpoint, resolved, options, &WeightsCache::Off)
}

/// The same with packed weights from `cache`: if any process has packed these before, they are mapped and not read
/// again, and the memory that they take is shared with every other process that has mapped them. The network is the
/// same in every bit. [`LoadReport::weights_cache`] says what came of it; a cache that cannot be used is no error.
///
/// # Errors
/// As [`load_fused`].
pub fn load_cached(
    checkpoint: &Checkpoint,
    resolved: &Resolved,
    options: &FuseOptions,
    cache: &WeightsCache,
) -> Result<Loaded> {
    let mut options = options.clone();
    options.quantization = match (options.precision, checkpoint.quantization()) {
        (Precision::Int8, Some(inputs)) => Arc::clone(inputs),
        (Precision::Int8, None) => {
            return Err(Error::NotQuantized {
                origin: checkpoint.origin().to_owned(),
            });
        }
        _ => Arc::default(),
    };
    let checked = Checked::new(checkpoint, resolved)?;
    let choices = ResNet::fuse_choices(&resolved.config, &options).map_err(refused)?;
    let (model, weights_cache, warning) = cache.load(&checked, &choices)?;
    let mut report = checked.report(DType::F32);
    report.weights_cache = weights_cache;
    report.warnings.extend(warning);
    Ok(Loaded { model, report })
}

fn refused(error: resnest_model::Error) -> Error {
    Error::Model(Box::new(error))
}

/// A checkpoint that was found to fit a network, by names and shapes: none of its values has been read yet.
pub(crate) struct Checked<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) resolved: &'a Resolved,
    pub(crate) plan: Plan,
    strict: StrictReport,
}

impl<'a> Checked<'a> {
    fn new(checkpoint: &'a Checkpoint, resolved: &'a Resolved) -> Result<Self> {
        let Resolved {
            config,
            pretrained,
            head,
            ..
        } = resolved;
        let plan = Plan::new(checkpoint, config, pretrained, *head)?;
        let exempt = plan.exempt(checkpoint, config);
        let classifier = pretrained.classifier_name(config);
        let strict = compare(checkpoint, config, &exempt, classifier)?.into_result()?;
        Ok(Self {
            checkpoint,
            resolved,
            plan,
            strict,
        })
    }

    /// Hands the weights to `network`; of layers that are in `packed`, zeros.
    fn network(
        &self,
        device: &Device,
        dtype: DType,
        packed: Option<&Entry>,
        network: impl FnOnce(&ResNetConfig, VarBuilder) -> resnest_model::Result<ResNet>,
    ) -> Result<ResNet> {
        let not_finite = Refused::default();
        let backend = CheckpointBackend {
            checkpoint: self.checkpoint,
            plan: &self.plan,
            refused: &not_finite,
            packed,
        };
        let vb = VarBuilder::from_backend(Box::new(backend), dtype, device.clone());
        let made = network(&self.resolved.config, vb);
        made.map_err(|error| not_finite.take().unwrap_or_else(|| refused(error)))
    }

    /// The fused network, packed here.
    pub(crate) fn fused(&self, choices: &FuseChoices) -> Result<ResNet> {
        self.network(&Device::Cpu, DType::F32, None, |config, vb| {
            ResNet::fused_as(config, vb, choices, None)
        })
    }

    /// The same, each layer handed to `store` as it is packed.
    pub(crate) fn fused_into(
        &self,
        choices: &FuseChoices,
        store: Arc<dyn PackedStore>,
    ) -> Result<ResNet> {
        self.network(&Device::Cpu, DType::F32, None, |config, vb| {
            ResNet::fused_as(config, vb, choices, Some(store))
        })
    }

    /// The fused network of layers that were packed before.
    pub(crate) fn fused_from(&self, choices: &FuseChoices, packed: Arc<Entry>) -> Result<ResNet> {
        let store: Arc<dyn PackedStore> = packed.clone();
        self.network(&Device::Cpu, DType::F32, Some(&packed), |config, vb| {
            ResNet::fused_as(config, vb, choices, Some(store))
        })
    }

    /// What was done; of packed weights nothing yet.
    fn report(self, dtype: DType) -> LoadReport {
        LoadReport {
            format: self.checkpoint.format(),
            wrapper: self.checkpoint.wrapper().map(str::to_string),
            dtype,
            adapted: self.plan.first_conv.map(|(name, _)| name),
            replaced: self.plan.replaced,
            dropped: self.plan.dropped,
            strict: self.strict,
            warnings: self.plan.warnings,
            weights_cache: CacheUse::default(),
        }
    }
}

/// A model of which both parts are in memory, such as the one embedded in the binary: everything but the load.
///
/// # Errors
/// As [`Loader::resolve`].
pub fn resolve_parts(
    name: &str,
    config_json: &str,
    weights: impl Into<Cow<'static, [u8]>>,
    overrides: &Overrides,
) -> Result<Resolved> {
    let config = ModelConfig::parse(config_json, &format!("{name}/config.json"))?;
    let weights = Weights::Memory {
        bytes: weights.into(),
        origin: name.to_string(),
    };
    let mut resolved = from_config(config, name.to_string(), weights)?;
    apply(&mut resolved, overrides)?;
    Ok(resolved)
}

/// What a network asked for in some type computes in: on the CPU f16 and bf16 become f32, for
/// candle's CPU convolutions know no bf16, and its f16 is slower and less exact than f32.
///
/// # Errors
/// [`Error::ComputeType`] for a type that is not floating point.
pub fn compute_type(device: &Device, asked: DType) -> Result<DType> {
    match asked {
        DType::F16 | DType::BF16 if device.is_cpu() => Ok(DType::F32),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Ok(asked),
        other => Err(Error::ComputeType { asked: other }),
    }
}
