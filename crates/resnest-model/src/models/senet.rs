//! The older SE networks, `legacy_*`: the stem, the blocks and the named networks.
//!
//! Hu et al., *Squeeze-and-Excitation Networks*, [arXiv:1709.01507]; timm's [`models/senet.py`]. timm has a class of
//! its own for them. What differs from ResNet is here: the names of the stem, the blocks, and the names `se_module` and
//! `last_linear`; the network is put together as all others are.
//!
//! [arXiv:1709.01507]: https://arxiv.org/abs/1709.01507
//! [`models/senet.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/senet.py

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::Residual;

use crate::block::{BlockSpec, Downsample, ResidualBlock};
use crate::config::{Block, ResNetConfig, SeNetArgs, SeNetBlock, StemType};
use crate::error::{Error, Result as ModelResult};
use crate::fuse::Fuser;
use crate::helpers::group_width;
use crate::layers::act::Act;
use crate::layers::conv::{Conv2d, Conv2dConfig};
use crate::layers::conv_bn_act::{conv_norm_act, conv_norm_act_for, conv_norm_act_twice};
use crate::layers::gate::conv_norm_act_gate_add_relu;
use crate::layers::norm::BatchNorm2d;
use crate::layers::squeeze_excite::SeModule;
use crate::models::Named;
use crate::trace::Trace;

/// `layer0`: one 7x7 convolution, or three 3x3, each with norm and ReLU.
#[derive(Clone, Debug)]
pub(crate) struct Layer0 {
    /// `conv1`, `conv2`, `conv3`.
    convs: Vec<Conv2d>,
    /// `bn1`, `bn2`, `bn3`.
    bns: Vec<BatchNorm2d>,
}

impl Layer0 {
    pub(crate) fn new(config: &ResNetConfig, vb: &VarBuilder) -> Result<Self> {
        let (width, out) = (config.stem_width, config.stem_chans());
        let layers = match config.stem_type {
            StemType::Conv7x7 => vec![(config.in_chans, out, Conv2dConfig::new(7, 2))],
            StemType::Deep | StemType::DeepTiered => vec![
                (config.in_chans, width, Conv2dConfig::new(3, 2)),
                (width, width, Conv2dConfig::new(3, 1)),
                (width, out, Conv2dConfig::new(3, 1)),
            ],
        };
        let (mut convs, mut bns) = (Vec::new(), Vec::new());
        for (number, (from, to, conv)) in (1..).zip(layers) {
            convs.push(Conv2d::new(from, to, conv, vb.pp(format!("conv{number}")))?);
            bns.push(BatchNorm2d::new(to, vb.pp(format!("bn{number}")))?);
        }
        Ok(Self { convs, bns })
    }

    /// (N, in_chans, H, W) → (N, C, ⌈H/2⌉, ⌈W/2⌉).
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let mut x = x.clone();
        for (conv, bn) in self.convs.iter().zip(&self.bns) {
            x = conv_norm_act(conv, bn, Act::Relu, &x, trace)?;
        }
        Ok(x)
    }

    /// The network's first convolution.
    pub(crate) fn first(&self) -> &Conv2d {
        &self.convs[0]
    }

    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        let mut layers = self.convs.iter_mut().zip(&self.bns);
        layers.try_for_each(|(conv, bn)| conv.fuse(Some(bn), fuser))
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        self.convs.iter().map(Conv2d::bytes).sum()
    }
}

/// The three bottlenecks (`Bottleneck` and what derives from it), which differ in widths and stride.
#[derive(Clone, Debug)]
pub(crate) struct Bottleneck {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Conv2d,
    bn3: BatchNorm2d,
    se_module: SeModule,
    downsample: Option<Downsample>,
}

impl Bottleneck {
    /// `SEBottleneck`, of SENet-154: twice the planes, then four times.
    fn se_bottleneck(spec: &BlockSpec, reduction: usize, vb: &VarBuilder) -> Result<Self> {
        let widths = [spec.planes * 2, spec.planes * 4];
        Self::new(spec, widths, [1, spec.stride], reduction, vb)
    }

    /// `SEResNetBottleneck`: the stride is the first 1x1's, as in Caffe.
    fn se_resnet(spec: &BlockSpec, reduction: usize, vb: &VarBuilder) -> Result<Self> {
        Self::new(spec, [spec.planes; 2], [spec.stride, 1], reduction, vb)
    }

    /// `SEResNeXtBottleneck`, whose base width is always 4.
    fn se_resnext(spec: &BlockSpec, reduction: usize, vb: &VarBuilder) -> Result<Self> {
        let width = group_width(spec.planes, 4, spec.cardinality);
        Self::new(spec, [width; 2], [1, spec.stride], reduction, vb)
    }

    fn new(
        spec: &BlockSpec,
        [first, width]: [usize; 2],
        [stride1, stride2]: [usize; 2],
        reduction: usize,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let out = spec.out_chans;
        let conv2 = Conv2dConfig {
            groups: spec.cardinality,
            ..Conv2dConfig::new(3, stride2)
        };
        let conv1 = Conv2dConfig::new(1, stride1);
        Ok(Self {
            conv1: Conv2d::new(spec.in_chans, first, conv1, vb.pp("conv1"))?,
            bn1: BatchNorm2d::new(first, vb.pp("bn1"))?,
            conv2: Conv2d::new(first, width, conv2, vb.pp("conv2"))?,
            bn2: BatchNorm2d::new(width, vb.pp("bn2"))?,
            conv3: Conv2d::new(width, out, Conv2dConfig::new(1, 1), vb.pp("conv3"))?,
            bn3: BatchNorm2d::new(out, vb.pp("bn3"))?,
            se_module: SeModule::new(out, out / reduction, vb.pp("se_module"))?,
            downsample: Downsample::new(spec, out, vb.pp("downsample"))?,
        })
    }
}

impl ResidualBlock for Bottleneck {
    fn forward(&self, x: Residual, trace: &mut Trace) -> Result<Tensor> {
        let first = (&self.conv1, &self.bn1, Act::Relu);
        let second = (&self.conv2, &self.bn2, Act::Relu);
        let out = conv_norm_act_twice(first, second, &x, Some(&self.conv3), trace)?;
        let shortcut = Downsample::shortcut(self.downsample.as_ref(), x, trace)?;
        conv_norm_act_gate_add_relu(
            &self.conv3,
            &self.bn3,
            Act::Identity,
            &self.se_module,
            &shortcut,
            &out,
            trace,
        )
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.conv1.fuse(Some(&self.bn1), fuser)?;
        self.conv2.fuse(Some(&self.bn2), fuser)?;
        self.conv3.fuse(Some(&self.bn3), fuser)?;
        if let Some(downsample) = &mut self.downsample {
            downsample.fuse(fuser)?;
        }
        self.se_module.fuse(fuser)
    }

    fn weight_bytes(&self) -> usize {
        let downsample = self.downsample.as_ref().map_or(0, Downsample::weight_bytes);
        let convs = [&self.conv1, &self.conv2, &self.conv3].map(Conv2d::bytes);
        convs.iter().sum::<usize>() + self.se_module.bytes() + downsample
    }
}

/// `SEResNetBlock`: two 3x3 convolutions, a ReLU also before the attention.
#[derive(Clone, Debug)]
pub(crate) struct SeResNetBlock {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    se_module: SeModule,
    downsample: Option<Downsample>,
}

impl SeResNetBlock {
    fn new(spec: &BlockSpec, reduction: usize, vb: &VarBuilder) -> Result<Self> {
        let planes = spec.planes;
        let conv1 = Conv2dConfig::new(3, spec.stride);
        let conv2 = Conv2dConfig {
            groups: spec.cardinality,
            ..Conv2dConfig::new(3, 1)
        };
        Ok(Self {
            conv1: Conv2d::new(spec.in_chans, planes, conv1, vb.pp("conv1"))?,
            bn1: BatchNorm2d::new(planes, vb.pp("bn1"))?,
            conv2: Conv2d::new(planes, planes, conv2, vb.pp("conv2"))?,
            bn2: BatchNorm2d::new(planes, vb.pp("bn2"))?,
            se_module: SeModule::new(planes, planes / reduction, vb.pp("se_module"))?,
            downsample: Downsample::new(spec, planes, vb.pp("downsample"))?,
        })
    }
}

impl ResidualBlock for SeResNetBlock {
    fn forward(&self, x: Residual, trace: &mut Trace) -> Result<Tensor> {
        let (conv, next) = (&self.conv1, self.conv2.packed());
        let out = conv_norm_act_for(conv, &self.bn1, Act::Relu, &x, next, trace)?;
        let shortcut = Downsample::shortcut(self.downsample.as_ref(), x, trace)?;
        conv_norm_act_gate_add_relu(
            &self.conv2,
            &self.bn2,
            Act::Relu,
            &self.se_module,
            &shortcut,
            &out,
            trace,
        )
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.conv1.fuse(Some(&self.bn1), fuser)?;
        self.conv2.fuse(Some(&self.bn2), fuser)?;
        if let Some(downsample) = &mut self.downsample {
            downsample.fuse(fuser)?;
        }
        self.se_module.fuse(fuser)
    }

    fn weight_bytes(&self) -> usize {
        let downsample = self.downsample.as_ref().map_or(0, Downsample::weight_bytes);
        self.conv1.bytes() + self.conv2.bytes() + self.se_module.bytes() + downsample
    }
}

/// The block of a stage.
pub(crate) fn new_block(
    spec: &BlockSpec,
    args: &SeNetArgs,
    vb: &VarBuilder,
) -> Result<Box<dyn ResidualBlock>> {
    let reduction = args.reduction;
    Ok(match args.block {
        SeNetBlock::SeBottleneck => Box::new(Bottleneck::se_bottleneck(spec, reduction, vb)?),
        SeNetBlock::SeResNetBottleneck => Box::new(Bottleneck::se_resnet(spec, reduction, vb)?),
        SeNetBlock::SeResNeXtBottleneck => Box::new(Bottleneck::se_resnext(spec, reduction, vb)?),
        SeNetBlock::SeResNetBlock => Box::new(SeResNetBlock::new(spec, reduction, vb)?),
    })
}

/// Whether the class has the options asked for, and whether widths divide into groups.
pub(crate) fn validate(config: &ResNetConfig, args: &SeNetArgs) -> ModelResult<()> {
    let plain = ResNetConfig::resnet(config.block.clone(), config.layers);
    let absent: [(&'static str, bool); 8] = [
        ("output_stride", config.output_stride == plain.output_stride),
        ("replace_stem_pool", !config.replace_stem_pool),
        ("block_reduce_first", config.block_reduce_first == 1),
        ("avg_down", !config.avg_down),
        ("norm_layer", config.norm_layer == plain.norm_layer),
        ("aa_layer", config.aa_layer.is_none()),
        ("stem_type", config.stem_type != StemType::DeepTiered),
        ("pruned", config.pruned.is_none()),
    ];
    if let Some((option, _)) = absent.into_iter().find(|(_, usual)| !usual) {
        let expected = "the legacy SE networks have no such option";
        return Err(Error::config(option, "another value", expected));
    }
    let groups = config.cardinality;
    for planes in config.channels {
        let widths = match args.block {
            SeNetBlock::SeBottleneck => [planes * 2, planes * 4],
            SeNetBlock::SeResNeXtBottleneck => [group_width(planes, 4, groups); 2],
            _ => [planes; 2],
        };
        if widths
            .iter()
            .any(|width| *width == 0 || !width.is_multiple_of(groups))
        {
            let expected = format!("the widths {widths:?} do not divide into that many groups");
            return Err(Error::config("cardinality", groups, expected));
        }
        let out = planes * config.block.expansion();
        if args.reduction == 0 || out < args.reduction {
            let expected = format!("must be 1 to the {out} channels of a stage");
            return Err(Error::config("reduction", args.reduction, expected));
        }
    }
    Ok(())
}

fn legacy(block: SeNetBlock, layers: [usize; 4], groups: usize) -> ResNetConfig {
    let block = Block::SeNet(SeNetArgs {
        block,
        reduction: 16,
    });
    ResNetConfig {
        cardinality: groups,
        ..ResNetConfig::resnet(block, layers)
    }
}

fn basic(layers: [usize; 4]) -> ResNetConfig {
    legacy(SeNetBlock::SeResNetBlock, layers, 1)
}

fn bottleneck(layers: [usize; 4]) -> ResNetConfig {
    legacy(SeNetBlock::SeResNetBottleneck, layers, 1)
}

fn next(layers: [usize; 4]) -> ResNetConfig {
    legacy(SeNetBlock::SeResNeXtBottleneck, layers, 32)
}

/// Every named network of the file.
pub(crate) const NAMED: &[Named] = &[
    ("legacy_seresnet18", || basic([2, 2, 2, 2])),
    ("legacy_seresnet34", || basic([3, 4, 6, 3])),
    ("legacy_seresnet50", || bottleneck([3, 4, 6, 3])),
    ("legacy_seresnet101", || bottleneck([3, 4, 23, 3])),
    ("legacy_seresnet152", || bottleneck([3, 8, 36, 3])),
    ("legacy_senet154", || ResNetConfig {
        stem_type: StemType::Deep,
        down_kernel_size: 3,
        ..legacy(SeNetBlock::SeBottleneck, [3, 8, 36, 3], 64)
    }),
    ("legacy_seresnext26_32x4d", || next([2, 2, 2, 2])),
    ("legacy_seresnext50_32x4d", || next([3, 4, 6, 3])),
    ("legacy_seresnext101_32x4d", || next([3, 4, 23, 3])),
];
