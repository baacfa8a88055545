//! The trunk: stem, four stages of residual blocks, head.
//!
//! He et al., *Deep Residual Learning for Image Recognition*, [arXiv:1512.03385]; `ResNet` of timm's
//! [`models/resnet.py`]. Nothing here depends on what is inside a block: [`registry`](crate::models::registry) makes
//! them.
//!
//! [arXiv:1512.03385]: https://arxiv.org/abs/1512.03385
//! [`models/resnet.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/resnet.py

mod explain;
mod features;
mod forward;
mod fusing;
mod stages;
mod stem;
mod stem_pool;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicUsize;

use candle_core::Result;
use candle_nn::VarBuilder;

use stages::block_specs;
use stem::Stem;
use stem_pool::StemPool;

use crate::block::ResidualBlock;
use crate::config::ResNetConfig;
use crate::error::{Error, Result as ModelResult};
use crate::fuse::PlannedLayer;
use crate::layers::linear::Linear;
use crate::layers::pool::SelectAdaptivePool2d;
use crate::models::registry::new_block;
use crate::recorder::{Recorder, TensorSpec};
pub use explain::SplitWeights;
pub use features::FeatureInfo;

/// timm's ResNet, built from a [`ResNetConfig`]. Immutable and shareable between threads.
#[derive(Debug)]
pub struct ResNet {
    stem: Stem,
    maxpool: StemPool,
    /// `layer1` … `layer4`.
    layers: [Vec<Box<dyn ResidualBlock>>; 4],
    global_pool: SelectAdaptivePool2d,
    fc: Option<Linear>,
    config: ResNetConfig,
    /// Once the network is fused.
    plan: Option<Vec<PlannedLayer>>,
    /// Forwards of the fused network, up to the number after which its weights are settled.
    forwards: AtomicUsize,
}

impl ResNet {
    /// Builds the network with the tensors of `vb`, whose names are those of timm's state dict.
    ///
    /// # Errors
    /// [`Error::Config`] if the options do not fit together, [`Error::Weights`] if a tensor is missing or misshaped.
    pub fn new(config: &ResNetConfig, vb: VarBuilder) -> ModelResult<Self> {
        config.validate()?;
        Self::read(config, &vb).map_err(Error::Weights)
    }

    fn read(config: &ResNetConfig, vb: &VarBuilder) -> Result<Self> {
        let stem = Stem::new(config, vb)?;
        let maxpool = StemPool::new(config, vb)?;
        let specs = block_specs(config);
        let blocks = specs.iter().map(|spec| new_block(config, spec, vb));
        let blocks = blocks.collect::<Result<_>>()?;
        let fc = new_classifier(config, vb)?;
        Ok(Self::assemble(config, (stem, maxpool), blocks, fc))
    }

    /// The network without memory for its weights, and the tensors it asked for.
    pub(crate) fn weightless(config: &ResNetConfig) -> ModelResult<(Self, Vec<TensorSpec>)> {
        let recorder = Recorder::default();
        let model = Self::new(config, recorder.var_builder())?;
        Ok((model, recorder.into_requests()))
    }

    /// `blocks` are those of all stages, in order.
    fn assemble(
        config: &ResNetConfig,
        (stem, maxpool): (Stem, StemPool),
        blocks: Vec<Box<dyn ResidualBlock>>,
        fc: Option<Linear>,
    ) -> Self {
        let mut blocks = blocks.into_iter();
        Self {
            stem,
            maxpool,
            layers: config.layers.map(|n| blocks.by_ref().take(n).collect()),
            global_pool: SelectAdaptivePool2d::new(config.global_pool),
            fc,
            config: config.clone(),
            plan: None,
            forwards: AtomicUsize::new(0),
        }
    }

    /// Bytes of weights held by convolutions and classifier, packed or as read.
    pub fn weight_bytes(&self) -> usize {
        let blocks = self.layers.iter().flatten();
        self.stem.weight_bytes()
            + self.maxpool.weight_bytes()
            + blocks.map(|block| block.weight_bytes()).sum::<usize>()
            + self.fc.as_ref().map_or(0, Linear::bytes)
    }

    /// What the network was built from.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// Channels of the last feature map.
    pub fn num_features(&self) -> usize {
        self.config.num_features()
    }

    /// The places where [`forward_intermediates`](Self::forward_intermediates) takes features, as
    /// timm lists them.
    pub fn feature_info(&self) -> Vec<FeatureInfo> {
        features::feature_info(&self.config)
    }

    /// The classifier, leaving a network that ends with its pool (`reset_classifier(0)`).
    pub(crate) fn take_classifier(&mut self) -> Option<Linear> {
        self.config.num_classes = 0;
        self.fc.take()
    }

    /// The layer behind [`forward_head`](Self::forward_head), if there are classes.
    pub(crate) fn classifier(&self) -> Option<&Linear> {
        self.fc.as_ref()
    }
}

/// The classifier, unless there are no classes.
fn new_classifier(config: &ResNetConfig, vb: &VarBuilder) -> Result<Option<Linear>> {
    match config.num_classes {
        0 => Ok(None),
        classes => {
            Linear::new(config.head_features(), classes, vb.pp(config.classifier())).map(Some)
        }
    }
}
