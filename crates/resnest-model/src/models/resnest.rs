//! ResNeSt: the block and the named networks.
//!
//! Zhang et al., *ResNeSt: Split-Attention Networks*, [arXiv:2004.08955]; timm's [`models/resnest.py`]; official
//! repository: [zhanghang1989/ResNeSt].
//!
//! [arXiv:2004.08955]: https://arxiv.org/abs/2004.08955
//! [`models/resnest.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/resnest.py
//! [zhanghang1989/ResNeSt]: https://github.com/zhanghang1989/ResNeSt

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::{PackedConv, Residual};

use crate::block::{BlockSpec, Downsample, ResidualBlock};
use crate::config::{Block, MOST_CHANNELS, NormLayer, ResNestArgs, ResNetConfig, StemType};
use crate::error::{Error, Result as ModelResult};
use crate::fuse::Fuser;
use crate::helpers::group_width;
use crate::layers::act::Act;
use crate::layers::conv::{Conv2d, Conv2dConfig};
use crate::layers::conv_bn_act::{conv_norm_act, conv_norm_act_for, conv_norm_add_act};
use crate::layers::norm::BatchNorm2d;
use crate::layers::pool::{AvgPool2d, AvgPoolRule};
use crate::layers::split_attn::{SplitAttn, attn_chans};
use crate::models::Named;
use crate::trace::Trace;

/// The middle of a block: split attention, or with radix 0 the plain convolution of a ResNeXt.
#[derive(Clone, Debug)]
enum Conv2 {
    SplitAttn(Box<SplitAttn>),
    Plain { conv: Conv2d, bn2: BatchNorm2d },
}

/// `ResNestBottleneck`: 1x1, split attention over 3x3, 1x1, and the shortcut.
#[derive(Clone, Debug)]
pub(crate) struct ResNestBottleneck {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    avd_first: Option<AvgPool2d>,
    conv2: Conv2,
    avd_last: Option<AvgPool2d>,
    conv3: Conv2d,
    bn3: BatchNorm2d,
    downsample: Option<Downsample>,
}

impl ResNestBottleneck {
    pub(crate) fn new(spec: &BlockSpec, args: &ResNestArgs, vb: VarBuilder) -> Result<Self> {
        let width = spec.width();
        let avd = args.avd && spec.stride > 1;
        let pool = |wanted: bool, name| {
            let stride = spec.stride;
            let path = vb.pp(name).prefix();
            wanted.then(|| AvgPool2d::new(AvgPoolRule::Padded3x3 { stride }, path))
        };
        let config = spec.conv3x3(avd);
        let one = Conv2dConfig::new(1, 1);
        let out_chans = spec.out_chans;
        Ok(Self {
            conv1: Conv2d::new(spec.in_chans, width, one, vb.pp("conv1"))?,
            bn1: BatchNorm2d::new(width, vb.pp("bn1"))?,
            avd_first: pool(avd && args.avd_first, "avd_first"),
            conv2: Conv2::new(width, args.radix, config, &vb)?,
            avd_last: pool(avd && !args.avd_first, "avd_last"),
            conv3: Conv2d::new(width, out_chans, one, vb.pp("conv3"))?,
            bn3: BatchNorm2d::new(out_chans, vb.pp("bn3"))?,
            downsample: Downsample::new(spec, out_chans, vb.pp("downsample"))?,
        })
    }
}

impl ResidualBlock for ResNestBottleneck {
    fn forward(&self, x: Residual, trace: &mut Trace) -> Result<Tensor> {
        let next = self.conv2.packed().filter(|_| self.avd_first.is_none());
        let conv = &self.conv1;
        let mut out = conv_norm_act_for(conv, &self.bn1, Act::Relu, &x, next, trace)?;
        if let Some(pool) = &self.avd_first {
            out = pool.forward(&out, trace)?;
        }
        if let (None, None, Conv2::SplitAttn(conv2)) =
            (&self.avd_last, &self.downsample, &self.conv2)
        {
            return conv2.forward_then(&self.conv3, &self.bn3, x, &out, trace);
        }
        out = self.conv2.forward(&out, trace)?;
        if let Some(pool) = &self.avd_last {
            out = pool.forward(&out, trace)?;
        }
        let shortcut = Downsample::shortcut(self.downsample.as_ref(), x, trace)?;
        conv_norm_add_act(&self.conv3, &self.bn3, shortcut, &out, trace)
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.conv1.fuse(Some(&self.bn1), fuser)?;
        if let Some(pool) = &mut self.avd_first {
            pool.fuse();
        }
        self.conv2.fuse(fuser)?;
        if let Some(pool) = &mut self.avd_last {
            pool.fuse();
        }
        if let Some(downsample) = &mut self.downsample {
            downsample.fuse(fuser)?;
        }
        self.conv3.fuse(Some(&self.bn3), fuser)
    }

    fn weight_bytes(&self) -> usize {
        let downsample = self.downsample.as_ref().map_or(0, Downsample::weight_bytes);
        self.conv1.bytes() + self.conv2.weight_bytes() + downsample + self.conv3.bytes()
    }
}

impl Conv2 {
    fn new(width: usize, radix: usize, config: Conv2dConfig, vb: &VarBuilder) -> Result<Self> {
        if radix > 0 {
            let conv2 = SplitAttn::new(width, radix, config, vb.pp("conv2"))?;
            return Ok(Conv2::SplitAttn(Box::new(conv2)));
        }
        Ok(Conv2::Plain {
            conv: Conv2d::new(width, width, config, vb.pp("conv2"))?,
            bn2: BatchNorm2d::new(width, vb.pp("bn2"))?,
        })
    }

    /// The convolution that alone reads its input, once it is packed.
    fn packed(&self) -> Option<&PackedConv> {
        match self {
            Conv2::SplitAttn(conv2) => conv2.packed(),
            Conv2::Plain { conv, .. } => conv.packed(),
        }
    }

    fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        match self {
            Conv2::SplitAttn(conv2) => conv2.forward(x, trace),
            Conv2::Plain { conv, bn2 } => conv_norm_act(conv, bn2, Act::Relu, x, trace),
        }
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        match self {
            Conv2::SplitAttn(conv2) => conv2.fuse(fuser),
            Conv2::Plain { conv, bn2 } => conv.fuse(Some(bn2), fuser),
        }
    }

    fn weight_bytes(&self) -> usize {
        match self {
            Conv2::SplitAttn(conv2) => conv2.bytes(),
            Conv2::Plain { conv, .. } => conv.bytes(),
        }
    }
}

/// Whether the widths of every stage divide by the groups of its convolutions.
pub(crate) fn validate(config: &ResNetConfig, args: &ResNestArgs) -> ModelResult<()> {
    let cardinality = config.cardinality;
    let expansion = Block::ResNest(*args).expansion();
    if config.norm_layer != NormLayer::BatchNorm {
        let expected = "a ResNeSt has batch norms only";
        return Err(Error::config("norm_layer", "groupnorm", expected));
    }
    if config.block_reduce_first != 1 {
        let expected = "must be 1 with ResNeSt's block";
        return Err(Error::config(
            "block_reduce_first",
            config.block_reduce_first,
            expected,
        ));
    }
    if args.radix > 64 {
        return Err(Error::config("radix", args.radix, "must be 0 to 64"));
    }
    for planes in config.channels {
        let width = group_width(planes, config.base_width, cardinality);
        let splits = width.saturating_mul(args.radix.max(1));
        if !(1..=MOST_CHANNELS).contains(&splits) || planes * expansion > MOST_CHANNELS {
            let expected = format!(
                "gives a stage of {planes} planes {splits} channels, not 1 to {MOST_CHANNELS}"
            );
            return Err(Error::config("base_width", config.base_width, expected));
        }
        let groups = cardinality * args.radix.max(1);
        if !width.is_multiple_of(groups) {
            let expected = format!(
                "the {width} channels of a stage of {planes} planes do not divide into radix * cardinality = {groups} groups"
            );
            return Err(Error::config("radix", args.radix, expected));
        }
        let attn = attn_chans(width, args.radix);
        if args.radix > 0 && !attn.is_multiple_of(cardinality) {
            let expected =
                format!("the attention's {attn} channels do not divide into that many groups");
            return Err(Error::config("cardinality", cardinality, expected));
        }
    }
    Ok(())
}

/// What all ResNeSts share: deep stem, avg_down, avd.
fn resnest(layers: [usize; 4], stem_width: usize) -> ResNetConfig {
    let block = Block::ResNest(ResNestArgs {
        radix: 2,
        avd: true,
        avd_first: false,
    });
    ResNetConfig {
        stem_type: StemType::Deep,
        stem_width,
        avg_down: true,
        ..ResNetConfig::resnet(block, layers)
    }
}

/// ResNeSt-50 of the ablation in the official repository: `<radix>s<cardinality>x<base_width>d`,
/// pool before the 3x3.
fn resnest50_fast(radix: usize, cardinality: usize, base_width: usize) -> ResNetConfig {
    ResNetConfig {
        block: Block::ResNest(ResNestArgs {
            radix,
            avd: true,
            avd_first: true,
        }),
        cardinality,
        base_width,
        ..ResNetConfig::resnest50d()
    }
}

/// Named networks: `d` has a stem of width 32, `e` of 64.
impl ResNetConfig {
    /// ResNeSt-14d: 10.6 M parameters, 224x224, weights from GluonCV.
    pub fn resnest14d() -> Self {
        resnest([1, 1, 1, 1], 32)
    }

    /// ResNeSt-26d: 17.1 M parameters, 224x224, weights from GluonCV.
    pub fn resnest26d() -> Self {
        resnest([2, 2, 2, 2], 32)
    }

    /// ResNeSt-50d, the paper's ResNeSt-50: 27.5 M parameters, 224x224.
    pub fn resnest50d() -> Self {
        resnest([3, 4, 6, 3], 32)
    }

    /// ResNeSt-101e, the paper's ResNeSt-101: 48.3 M parameters, 256x256.
    pub fn resnest101e() -> Self {
        resnest([3, 4, 23, 3], 64)
    }

    /// ResNeSt-200e, the paper's ResNeSt-200: 70.2 M parameters, 320x320.
    pub fn resnest200e() -> Self {
        resnest([3, 24, 36, 3], 64)
    }

    /// ResNeSt-269e, the paper's ResNeSt-269: 110.9 M parameters, 416x416.
    pub fn resnest269e() -> Self {
        resnest([3, 30, 48, 8], 64)
    }

    /// ResNeSt-50d 4s2x40d: radix 4, cardinality 2, base width 40; 30.4 M parameters.
    pub fn resnest50d_4s2x40d() -> Self {
        resnest50_fast(4, 2, 40)
    }

    /// ResNeSt-50d 1s4x24d: radix 1, cardinality 4, base width 24; 25.7 M parameters.
    pub fn resnest50d_1s4x24d() -> Self {
        resnest50_fast(1, 4, 24)
    }

    /// ResNeSt-50d 1s1x64d, official repository only.
    pub fn resnest50d_1s1x64d() -> Self {
        resnest50_fast(1, 1, 64)
    }

    /// ResNeSt-50d 2s1x64d, official repository only.
    pub fn resnest50d_2s1x64d() -> Self {
        resnest50_fast(2, 1, 64)
    }

    /// ResNeSt-50d 4s1x64d, official repository only.
    pub fn resnest50d_4s1x64d() -> Self {
        resnest50_fast(4, 1, 64)
    }

    /// ResNeSt-50d 1s2x40d, official repository only.
    pub fn resnest50d_1s2x40d() -> Self {
        resnest50_fast(1, 2, 40)
    }

    /// ResNeSt-50d 2s2x40d, official repository only.
    pub fn resnest50d_2s2x40d() -> Self {
        resnest50_fast(2, 2, 40)
    }
}

/// Every named ResNeSt.
pub(crate) const NAMED: &[Named] = &[
    ("resnest14d", ResNetConfig::resnest14d),
    ("resnest26d", ResNetConfig::resnest26d),
    ("resnest50d", ResNetConfig::resnest50d),
    ("resnest50d_1s4x24d", ResNetConfig::resnest50d_1s4x24d),
    ("resnest50d_4s2x40d", ResNetConfig::resnest50d_4s2x40d),
    ("resnest101e", ResNetConfig::resnest101e),
    ("resnest200e", ResNetConfig::resnest200e),
    ("resnest269e", ResNetConfig::resnest269e),
    ("resnest50d_1s1x64d", ResNetConfig::resnest50d_1s1x64d),
    ("resnest50d_2s1x64d", ResNetConfig::resnest50d_2s1x64d),
    ("resnest50d_4s1x64d", ResNetConfig::resnest50d_4s1x64d),
    ("resnest50d_1s2x40d", ResNetConfig::resnest50d_1s2x40d),
    ("resnest50d_2s2x40d", ResNetConfig::resnest50d_2s2x40d),
];

/// The official repository's name for a network, turned into timm's form.
pub(crate) fn timm_name(official: &str) -> Option<String> {
    if let Some(setting) = official.strip_prefix("resnest50_fast_") {
        return Some(format!("resnest50d_{setting}"));
    }
    let timm = match official {
        "resnest50" => "resnest50d",
        "resnest101" => "resnest101e",
        "resnest200" => "resnest200e",
        "resnest269" => "resnest269e",
        _ => return None,
    };
    Some(timm.to_owned())
}
