//! The residual blocks' places: width, stride and dilation of each (`make_blocks`).

use std::fmt::Debug;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::block::DownsampleKind;
use crate::config::{AaLayer, Block, NormLayer, ResNetConfig};
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::helpers::group_width;
use crate::layers::conv::{Conv2dConfig, Held};
use crate::models::res2net::Bottle2neck;
use crate::models::resnest::ResNestBottleneck;
use crate::models::resnet::{BasicBlock, Bottleneck};
use crate::models::senet;
use crate::models::sknet::{SelectiveKernelBasic, SelectiveKernelBottleneck};
use crate::trace::Trace;

/// A residual block: (N, C, H, W) → (N, C', H', W').
pub(crate) trait ResidualBlock: CloneBlock + Debug + Send + Sync {
    fn forward(&self, x: Held, trace: &mut Trace) -> Result<Tensor>;

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

/// What the trunk tells a block about its place (the arguments of timm's block constructors).
#[derive(Clone, Debug)]
pub(crate) struct BlockSpec {
    /// The checkpoint's name, such as `layer1.0`.
    pub path: String,
    /// 0 to 3.
    pub stage: usize,
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

/// `make_blocks`: where each block gets its stride and dilation.
pub(super) fn block_specs(config: &ResNetConfig) -> Vec<BlockSpec> {
    let (mut net_stride, mut dilation, mut first_dilation) = (4, 1, 1);
    let mut in_chans = config.stem_chans();
    let mut specs = Vec::new();
    for (i, planes) in config.channels.into_iter().enumerate() {
        let mut stride = if i == 0 { 1 } else { 2 };
        if net_stride >= config.output_stride {
            dilation *= stride;
            stride = 1;
        } else {
            net_stride *= stride;
        }
        let out_chans = config.stage_chans(i);
        let kind = match config.avg_down {
            true => DownsampleKind::Avg,
            false => DownsampleKind::Conv {
                kernel: config.down_kernel_size,
            },
        };
        for block in 0..config.layers[i] {
            // Pruning has changed the widths, not which shortcuts there are.
            let changes_shape = stride != 1 || in_chans != out_chans || config.pruned.is_some();
            specs.push(BlockSpec {
                path: format!("layer{}.{block}", i + 1),
                stage: i,
                in_chans,
                planes,
                stride,
                dilation,
                first_dilation,
                cardinality: config.cardinality,
                base_width: config.base_width,
                downsample: (block == 0 && changes_shape).then_some(kind),
                reduce_first: config.block_reduce_first,
                norm_layer: config.norm_layer,
                aa: config.aa_layer,
                pruned: config.pruned.map(|pruned| {
                    let [first, width] = pruned.widths[specs.len()];
                    [first, width, out_chans]
                }),
            });
            stride = 1;
            first_dilation = dilation;
            in_chans = out_chans;
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
    Ok(match config.block.of_stage(spec.stage) {
        Block::Basic(args) => Box::new(BasicBlock::new(spec, args, vb)?),
        Block::Bottleneck(args) => Box::new(Bottleneck::new(spec, args, vb)?),
        Block::ResNest(args) => Box::new(ResNestBottleneck::new(spec, args, vb)?),
        Block::SelectiveKernelBasic(args) => Box::new(SelectiveKernelBasic::new(spec, args, vb)?),
        Block::SelectiveKernelBottleneck(args) => {
            Box::new(SelectiveKernelBottleneck::new(spec, args, vb)?)
        }
        Block::Bottle2neck(args) => Box::new(Bottle2neck::new(spec, args, vb)?),
        Block::SeNet(args) => senet::new_block(spec, args, &vb)?,
        Block::PerStage(_) => candle_core::bail!("a stage has one kind of block"),
    })
}
