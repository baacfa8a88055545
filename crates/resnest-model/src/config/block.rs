//! The kinds of residual block, each with the options that only it has.

/// A kind of residual block, and its own options.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// `BasicBlock` of `timm/models/resnet.py`.
    Basic(BlockArgs),
    /// `Bottleneck` of `timm/models/resnet.py`.
    Bottleneck(BlockArgs),
    /// `ResNestBottleneck` of `timm/models/resnest.py`.
    ResNest(ResNestArgs),
    /// `SelectiveKernelBasic` of `timm/models/sknet.py`.
    SelectiveKernelBasic(SkArgs),
    /// `SelectiveKernelBottleneck` of `timm/models/sknet.py`.
    SelectiveKernelBottleneck(SkArgs),
    /// `Bottle2neck` of `timm/models/res2net.py`.
    Bottle2neck(Res2NetArgs),
    /// A block of `timm/models/senet.py`, and with it that file's stem and names.
    SeNet(SeNetArgs),
    /// Another kind in each of the four stages.
    PerStage(Box<[Block; 4]>),
}

impl Block {
    /// The block of a stage, counted from 0.
    pub fn of_stage(&self, stage: usize) -> &Block {
        match self {
            Block::PerStage(blocks) => &blocks[stage],
            one => one,
        }
    }

    /// Channels that a block puts out for each plane (timm: the classes' `expansion`). Where each stage has a kind of
    /// its own, that of the last stage.
    pub fn expansion(&self) -> usize {
        match self {
            Block::Basic(_) | Block::SelectiveKernelBasic(_) => 1,
            Block::Bottleneck(_)
            | Block::ResNest(_)
            | Block::SelectiveKernelBottleneck(_)
            | Block::Bottle2neck(_) => 4,
            Block::SeNet(args) => match args.block {
                SeNetBlock::SeResNetBlock => 1,
                SeNetBlock::SeBottleneck
                | SeNetBlock::SeResNetBottleneck
                | SeNetBlock::SeResNeXtBottleneck => 4,
            },
            Block::PerStage(blocks) => blocks[3].expansion(),
        }
    }
}

/// `block_args` of `BasicBlock` and `Bottleneck`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockArgs {
    /// The attention before the shortcut is added.
    pub attn_layer: Option<AttnLayer>,
}

/// A channel attention (timm: `attn_layer`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttnLayer {
    /// `'se'`: squeeze-and-excitation.
    Se {
        /// Hidden channels per channel.
        rd_ratio: f64,
    },
    /// `'eca'`: efficient channel attention.
    Eca,
}

impl AttnLayer {
    /// Squeeze-and-excitation with timm's 1/16.
    pub fn se() -> Self {
        AttnLayer::Se {
            rd_ratio: 1.0 / 16.0,
        }
    }
}

/// `block_args` of `ResNestBottleneck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResNestArgs {
    /// Splits of each cardinal group. 1 gates one split by a sigmoid; 0 is a plain 3x3 convolution
    /// without attention.
    pub radix: usize,
    /// Downsample by a 3x3 average pool instead of the stride of the 3x3 convolution.
    pub avd: bool,
    /// Put that pool before the 3x3 convolution instead of after it.
    pub avd_first: bool,
}

/// `sk_kwargs` of the blocks with selective kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SkArgs {
    /// Hidden channels of the attention per channel.
    pub rd_ratio: f64,
    /// What they are a multiple of.
    pub rd_divisor: usize,
    /// Whether each path sees half of the input channels, rather than all.
    pub split_input: bool,
}

impl Default for SkArgs {
    /// timm's: 1/16, multiples of 8, halves.
    fn default() -> Self {
        Self {
            rd_ratio: 1.0 / 16.0,
            rd_divisor: 8,
            split_input: true,
        }
    }
}

/// `block_args` of `Bottle2neck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Res2NetArgs {
    /// Splits of the channels.
    pub scale: usize,
}

/// What only the legacy SE networks have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeNetArgs {
    /// Which of the file's blocks.
    pub block: SeNetBlock,
    /// Channels per hidden channel of the attention.
    pub reduction: usize,
}

/// The blocks of `timm/models/senet.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeNetBlock {
    /// `SEBottleneck`, of SENet-154.
    SeBottleneck,
    /// `SEResNetBottleneck`, the stride in its first 1x1 convolution.
    SeResNetBottleneck,
    /// `SEResNeXtBottleneck`, base width 4.
    SeResNeXtBottleneck,
    /// `SEResNetBlock`, with a ReLU before the attention.
    SeResNetBlock,
}
