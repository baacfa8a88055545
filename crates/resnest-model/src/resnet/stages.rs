//! The residual blocks' places: width, stride and dilation of each (`make_blocks`).

use std::fmt::Debug;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::downsample::DownsampleKind;
use crate::config::{Block, ResNetConfig};
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::resnest::ResNestBottleneck;
use crate::trace::Trace;

/// A residual block: (N, C, H, W) → (N, C', H', W').
pub(crate) trait ResidualBlock: Debug + Send + Sync {
    fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor>;

    /// Fuses each layer, in the order they run.
    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()>;

    /// Bytes of weights held by convolutions.
    fn weight_bytes(&self) -> usize;
}

/// What the trunk tells a block about its place (the arguments of timm's block constructors).
#[derive(Clone, Debug)]
pub(crate) struct BlockSpec {
    /// The checkpoint's name, such as `layer1.0`.
    pub path: String,
    pub in_chans: usize,
    pub planes: usize,
    pub stride: usize,
    /// Dilation of the stage.
    pub dilation: usize,
    /// Dilation of this block's 3x3: in the first block of a dilated stage still the one before.
    pub first_dilation: usize,
    pub cardinality: usize,
    pub base_width: usize,
    /// Whether the shortcut changes shape, and by which kind of downsampling.
    pub downsample: Option<DownsampleKind>,
}

/// `make_blocks`: where each block gets its stride and dilation.
pub(super) fn block_specs(config: &ResNetConfig) -> Vec<BlockSpec> {
    let expansion = config.block.expansion();
    let (mut net_stride, mut dilation, mut first_dilation) = (4, 1, 1);
    let mut in_chans = config.stem_type.out_chans(config.stem_width);
    let mut specs = Vec::new();
    for (i, planes) in config.channels.into_iter().enumerate() {
        let mut stride = if i == 0 { 1 } else { 2 };
        if net_stride >= config.output_stride {
            dilation *= stride;
            stride = 1;
        } else {
            net_stride *= stride;
        }
        for block in 0..config.layers[i] {
            let changes_shape = stride != 1 || in_chans != planes * expansion;
            let kind = match config.avg_down {
                true => DownsampleKind::Avg,
                false => DownsampleKind::Conv,
            };
            specs.push(BlockSpec {
                path: format!("layer{}.{block}", i + 1),
                in_chans,
                planes,
                stride,
                dilation,
                first_dilation,
                cardinality: config.cardinality,
                base_width: config.base_width,
                downsample: (block == 0 && changes_shape).then_some(kind),
            });
            stride = 1;
            first_dilation = dilation;
            in_chans = planes * expansion;
        }
    }
    specs
}

/// A block of the kind the configuration asks for.
pub(super) fn new_block(
    config: &ResNetConfig,
    spec: &BlockSpec,
    vb: &VarBuilder,
) -> Result<Box<dyn ResidualBlock>> {
    let vb = vb.pp(&spec.path);
    match &config.block {
        Block::ResNest(args) => Ok(Box::new(ResNestBottleneck::new(spec, args, vb)?)),
    }
}
