//! The options a network is built from, as plain data under timm's names (`ResNet.__init__` in [`models/resnet.py`]).
//!
//! [`models/resnet.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/resnet.py

mod block;
mod options;

pub use block::{
    AttnLayer, Block, BlockArgs, Res2NetArgs, ResNestArgs, SeNetArgs, SeNetBlock, SkArgs,
};
pub use options::{AaLayer, NormLayer, PoolType, Pruned, StemType};

/// A configuration with more channels or groups than these is damaged or hostile: published networks stay below 4096.
pub(crate) const MOST_CHANNELS: usize = 1 << 16;

/// How a network of timm's ResNet family is built.
///
/// Named constructors ([`ResNetConfig::resnest50d`] …) give the published networks; every field can
/// then be changed:
///
/// ```
/// use resnest_model::{PoolType, ResNetConfig};
/// let config = ResNetConfig { num_classes: 10, global_pool: PoolType::CatAvgMax,
/// ..ResNetConfig::resnest26d() }; config.validate()?;
/// # Ok::<(), resnest_model::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ResNetConfig {
    /// The residual block and the options that only it has (timm: `block` and `block_args`).
    pub block: Block,
    /// Blocks in each of the four stages.
    pub layers: [usize; 4],
    /// Planes of each stage; a stage puts out `planes * expansion` channels (4 for bottlenecks, 1 for
    /// basic blocks).
    pub channels: [usize; 4],
    /// Groups of the 3x3 convolution (timm's SENet: `groups`), before ResNeSt's radix multiplies them.
    pub cardinality: usize,
    /// Width of a group per 64 planes: `group_width = int(planes * base_width / 64) * cardinality`.
    pub base_width: usize,
    /// Layout of the stem.
    pub stem_type: StemType,
    /// Width of the first convolutions of a deep stem, which puts out twice as many channels. The
    /// 7x7 stem always puts out 64 and ignores it.
    pub stem_width: usize,
    /// A strided convolution with norm and ReLU instead of the max-pool after the stem.
    pub replace_stem_pool: bool,
    /// What the width of a block's first convolution is divided by.
    pub block_reduce_first: usize,
    /// Kernel of a shortcut's convolution where it has a stride: 1 or 3.
    pub down_kernel_size: usize,
    /// Shortcuts that change shape: average pool and 1x1 convolution instead of a strided
    /// convolution.
    pub avg_down: bool,
    /// The norm after every convolution.
    pub norm_layer: NormLayer,
    /// What stands for strides, to avoid aliasing.
    pub aa_layer: Option<AaLayer>,
    /// Widths of a pruned network instead of those that the other options give.
    pub pruned: Option<&'static Pruned>,
    /// Classes of the head; 0 leaves the classifier out, the output is then what the pool gives.
    pub num_classes: usize,
    /// Channels of the input image.
    pub in_chans: usize,
    /// The pool before the classifier.
    pub global_pool: PoolType,
    /// Input pixels per pixel of the last feature map: 32, or 16 or 8 by dilation instead of
    /// stride.
    pub output_stride: usize,
}

impl ResNetConfig {
    /// All of timm's defaults, with a 7x7 stem of 64 channels.
    pub(crate) fn resnet(block: Block, layers: [usize; 4]) -> Self {
        Self {
            block,
            layers,
            channels: [64, 128, 256, 512],
            cardinality: 1,
            base_width: 64,
            stem_type: StemType::Conv7x7,
            stem_width: 64,
            replace_stem_pool: false,
            block_reduce_first: 1,
            down_kernel_size: 1,
            avg_down: false,
            norm_layer: NormLayer::default(),
            aa_layer: None,
            pruned: None,
            num_classes: 1000,
            in_chans: 3,
            global_pool: PoolType::Avg,
            output_stride: 32,
        }
    }

    /// Channels of the last feature map, before the pool (timm: `num_features`).
    pub fn num_features(&self) -> usize {
        self.stage_chans(3)
    }

    /// Features that enter the classifier: `num_features`, twice that for `catavgmax`.
    pub fn head_features(&self) -> usize {
        self.num_features() * self.global_pool.feat_mult()
    }

    /// Channels that a stage puts out, counted from 0.
    pub(crate) fn stage_chans(&self, stage: usize) -> usize {
        match self.pruned {
            Some(pruned) => pruned.out_chans[stage],
            None => self.channels[stage] * self.block.of_stage(stage).expansion(),
        }
    }

    /// Channels after the stem.
    pub(crate) fn stem_chans(&self) -> usize {
        self.stem_type.out_chans(self.stem_width)
    }

    /// Channels after the first convolution.
    pub fn first_chans(&self) -> usize {
        match self.stem_type {
            StemType::Conv7x7 => self.stem_chans(),
            StemType::Deep => self.stem_width,
            StemType::DeepTiered => 3 * (self.stem_width / 4),
        }
    }

    /// The first convolution's name in the checkpoint (timm: `first_conv`).
    pub fn first_conv(&self) -> &'static str {
        match (&self.block, self.stem_type) {
            (Block::SeNet(_), _) => "layer0.conv1",
            (_, StemType::Conv7x7) => "conv1",
            (_, StemType::Deep | StemType::DeepTiered) => "conv1.0",
        }
    }

    /// The classifier's name in the checkpoint (timm: `classifier`).
    pub fn classifier(&self) -> &'static str {
        match self.block {
            Block::SeNet(_) => "last_linear",
            _ => "fc",
        }
    }

    /// timm's name of the module whose output is the stem's.
    pub(crate) fn stem_module(&self) -> &'static str {
        match self.block {
            Block::SeNet(_) => "layer0",
            _ => "act1",
        }
    }
}
