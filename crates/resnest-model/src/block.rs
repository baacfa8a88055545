//! What all residual blocks have in common: the trait, a block's place in the network, its shortcut.
//!
//! He et al., *Deep Residual Learning for Image Recognition*, [arXiv:1512.03385]; `downsample_avg` and
//! `downsample_conv` of timm's [`models/resnet.py`].
//!
//! [arXiv:1512.03385]: https://arxiv.org/abs/1512.03385
//! [`models/resnet.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/resnet.py

use std::fmt::Debug;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::Residual;

use crate::config::{AaLayer, NormLayer};
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::helpers::{get_padding, group_width};
use crate::layers::act::Act;
use crate::layers::conv::{Conv2d, Conv2dConfig};
use crate::layers::conv_bn_act::conv_norm_act;
use crate::layers::norm::{Norm, Normalise};
use crate::layers::pool::{AvgPool2d, AvgPoolRule};
use crate::trace::Trace;

/// A residual block: (N, C, H, W) → (N, C', H', W').
pub(crate) trait ResidualBlock: CloneBlock + Debug + Send + Sync {
    /// Computes the block. What it is given as [`Residual::Owned`] it may write its result over.
    fn forward(&self, x: Residual, trace: &mut Trace) -> Result<Tensor>;

    /// Fuses each layer, in the order they run.
    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()>;

    /// Bytes of weights held by convolutions.
    fn weight_bytes(&self) -> usize;
}

/// `Clone` of whatever block it is: weights are shared, not copied.
pub(crate) trait CloneBlock {
    fn clone_block(&self) -> Box<dyn ResidualBlock>;
}

impl<T: ResidualBlock + Clone + 'static> CloneBlock for T {
    fn clone_block(&self) -> Box<dyn ResidualBlock> {
        Box::new(self.clone())
    }
}

/// The place of a block in the network (the arguments of timm's block constructors).
#[derive(Clone, Debug)]
pub(crate) struct BlockSpec {
    /// The block's name in the checkpoint, such as `layer1.0`.
    pub path: String,
    /// 0 to 3.
    pub stage: usize,
    pub in_chans: usize,
    pub planes: usize,
    /// Channels put out: `planes` times the kind's [`expansion`](crate::Block::expansion), whatever was pruned.
    pub out_chans: usize,
    pub stride: usize,
    /// Dilation of the stage.
    pub dilation: usize,
    /// Dilation of this block's 3x3: in the first block of a dilated stage still the one before.
    pub first_dilation: usize,
    pub cardinality: usize,
    pub base_width: usize,
    /// Whether the shortcut changes shape, and by which kind of downsampling.
    pub downsample: Option<DownsampleKind>,
    pub reduce_first: usize,
    pub norm_layer: NormLayer,
    pub aa: Option<AaLayer>,
    /// Channels of a pruned bottleneck: after `conv1`, after `conv2`, put out.
    pub pruned: Option<[usize; 3]>,
}

impl BlockSpec {
    /// Channels inside a bottleneck.
    pub(crate) fn width(&self) -> usize {
        group_width(self.planes, self.base_width, self.cardinality)
    }

    /// The anti-aliasing layer of this block (timm: `use_aa`).
    pub(crate) fn aa_layer(&self) -> Option<AaLayer> {
        let changes = self.stride == 2 || self.first_dilation != self.dilation;
        self.aa.filter(|_| changes)
    }

    /// The 3x3 convolution with the block's stride, unless an anti-aliasing layer has it.
    pub(crate) fn conv3x3(&self, aa: bool) -> Conv2dConfig {
        Conv2dConfig {
            padding: self.first_dilation,
            dilation: self.first_dilation,
            groups: self.cardinality,
            ..Conv2dConfig::new(3, if aa { 1 } else { self.stride })
        }
    }
}

/// How a shortcut changes shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DownsampleKind {
    /// `downsample_avg`.
    Avg,
    /// `downsample_conv`, its kernel where it does more than change the width.
    Conv { kernel: usize },
}

/// The shortcut of a block that changes shape: an optional pool, a convolution and a norm.
#[derive(Clone, Debug)]
pub(crate) struct Downsample {
    pool: Option<AvgPool2d>,
    conv: Conv2d,
    norm: Norm,
}

impl Downsample {
    /// `None` where the shortcut is the input itself.
    pub(crate) fn new(spec: &BlockSpec, out_chans: usize, vb: VarBuilder) -> Result<Option<Self>> {
        let Some(kind) = spec.downsample else {
            return Ok(None);
        };
        // `downsample_avg` has its pool at index 0, be it an Identity; `downsample_conv` has none.
        let one = Conv2dConfig::new(1, 1);
        let (pool, conv, first) = match kind {
            DownsampleKind::Conv { kernel } => (None, strided(spec, kernel), 0),
            DownsampleKind::Avg if spec.dilation > 1 => (Some(AvgPoolRule::Same2x2), one, 1),
            DownsampleKind::Avg if spec.stride > 1 => (Some(AvgPoolRule::Ceil2x2), one, 1),
            DownsampleKind::Avg => (None, one, 1),
        };
        Ok(Some(Self {
            pool: pool.map(|rule| AvgPool2d::new(rule, vb.pp(0).prefix())),
            conv: Conv2d::new(spec.in_chans, out_chans, conv, vb.pp(first))?,
            norm: Norm::new(spec.norm_layer, out_chans, vb.pp(first + 1))?,
        }))
    }

    fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let pooled = match &self.pool {
            Some(pool) => &pool.forward(x, trace)?,
            None => x,
        };
        conv_norm_act(&self.conv, &self.norm, Act::Identity, pooled, trace)
    }

    /// What a block adds to its own result: its input, or what a downsampling makes of it.
    pub(crate) fn shortcut<'a>(
        downsample: Option<&Self>,
        x: Residual<'a>,
        trace: &mut Trace,
    ) -> Result<Residual<'a>> {
        match downsample {
            Some(downsample) => Ok(Residual::Owned(downsample.forward(&x, trace)?)),
            None => Ok(x),
        }
    }

    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        if let Some(pool) = &mut self.pool {
            pool.fuse();
        }
        self.conv.fuse(self.norm.foldable(), fuser)
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        self.conv.bytes()
    }
}

/// The convolution of a shortcut without pool.
fn strided(spec: &BlockSpec, kernel: usize) -> Conv2dConfig {
    let changes_width_only = spec.stride == 1 && spec.dilation == 1;
    let kernel = if changes_width_only { 1 } else { kernel };
    let dilation = if kernel > 1 { spec.first_dilation } else { 1 };
    Conv2dConfig {
        padding: get_padding(kernel, spec.stride, dilation),
        dilation,
        ..Conv2dConfig::new(kernel, spec.stride)
    }
}
