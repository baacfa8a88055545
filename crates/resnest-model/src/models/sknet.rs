//! ResNets with selective kernels: the blocks and the named networks.
//!
//! Li et al., *Selective Kernel Networks*, [arXiv:1903.06586]; timm's [`models/sknet.py`].
//!
//! [arXiv:1903.06586]: https://arxiv.org/abs/1903.06586
//! [`models/sknet.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/sknet.py

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::Residual;

use crate::block::{BlockSpec, Downsample, ResidualBlock};
use crate::config::{Block, ResNetConfig, SkArgs};
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::layers::act::Act;
use crate::layers::conv::Conv2dConfig;
use crate::layers::conv_bn_act::ConvNormAct;
use crate::layers::selective_kernel::SelectiveKernel;
use crate::models::Named;
use crate::trace::Trace;

/// `SelectiveKernelBasic`: a selective kernel, a 3x3 convolution, and the shortcut.
#[derive(Clone, Debug)]
pub(crate) struct SelectiveKernelBasic {
    conv1: SelectiveKernel,
    conv2: ConvNormAct,
    downsample: Option<Downsample>,
}

impl SelectiveKernelBasic {
    pub(crate) fn new(spec: &BlockSpec, args: &SkArgs, vb: VarBuilder) -> Result<Self> {
        let first = spec.planes / spec.reduce_first;
        let out = spec.out_chans;
        let layers = (spec.norm_layer, spec.aa);
        let conv2 = Conv2dConfig {
            dilation: spec.dilation,
            ..Conv2dConfig::new(3, 1)
        };
        let (sk, vb1) = (spec.conv3x3(false), vb.pp("conv1"));
        Ok(Self {
            conv1: SelectiveKernel::new(spec.in_chans, first, sk, args, layers, vb1)?,
            conv2: ConvNormAct::new(first, out, conv2, (layers.0, None), vb.pp("conv2"))?,
            downsample: Downsample::new(spec, out, vb.pp("downsample"))?,
        })
    }
}

impl ResidualBlock for SelectiveKernelBasic {
    fn forward(&self, x: Residual, trace: &mut Trace) -> Result<Tensor> {
        let map = x.clone();
        let shortcut = Downsample::shortcut(self.downsample.as_ref(), x, trace)?;
        self.conv1.forward_then(&self.conv2, shortcut, &map, trace)
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.conv1.fuse(fuser)?;
        if let Some(downsample) = &mut self.downsample {
            downsample.fuse(fuser)?;
        }
        self.conv2.fuse(fuser)
    }

    fn weight_bytes(&self) -> usize {
        let downsample = self.downsample.as_ref().map_or(0, Downsample::weight_bytes);
        self.conv1.bytes() + self.conv2.bytes() + downsample
    }
}

/// `SelectiveKernelBottleneck`: 1x1, selective kernel, 1x1, and the shortcut.
#[derive(Clone, Debug)]
pub(crate) struct SelectiveKernelBottleneck {
    conv1: ConvNormAct,
    conv2: SelectiveKernel,
    conv3: ConvNormAct,
    downsample: Option<Downsample>,
}

impl SelectiveKernelBottleneck {
    pub(crate) fn new(spec: &BlockSpec, args: &SkArgs, vb: VarBuilder) -> Result<Self> {
        let width = spec.width();
        let first = width / spec.reduce_first;
        let out = spec.out_chans;
        let layers = (spec.norm_layer, spec.aa);
        let one = |from, to, name| {
            let norm = (spec.norm_layer, None);
            ConvNormAct::new(from, to, Conv2dConfig::new(1, 1), norm, vb.pp(name))
        };
        let (sk, vb2) = (spec.conv3x3(false), vb.pp("conv2"));
        Ok(Self {
            conv1: one(spec.in_chans, first, "conv1")?,
            conv2: SelectiveKernel::new(first, width, sk, args, layers, vb2)?,
            conv3: one(width, out, "conv3")?,
            downsample: Downsample::new(spec, out, vb.pp("downsample"))?,
        })
    }
}

impl ResidualBlock for SelectiveKernelBottleneck {
    fn forward(&self, x: Residual, trace: &mut Trace) -> Result<Tensor> {
        let out = self.conv1.forward(Act::Relu, &x, trace)?;
        let shortcut = Downsample::shortcut(self.downsample.as_ref(), x, trace)?;
        self.conv2.forward_then(&self.conv3, shortcut, &out, trace)
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.conv1.fuse(fuser)?;
        self.conv2.fuse(fuser)?;
        if let Some(downsample) = &mut self.downsample {
            downsample.fuse(fuser)?;
        }
        self.conv3.fuse(fuser)
    }

    fn weight_bytes(&self) -> usize {
        let downsample = self.downsample.as_ref().map_or(0, Downsample::weight_bytes);
        self.conv1.bytes() + self.conv2.bytes() + self.conv3.bytes() + downsample
    }
}

fn basic(layers: [usize; 4]) -> ResNetConfig {
    let args = SkArgs {
        rd_ratio: 1.0 / 8.0,
        rd_divisor: 16,
        split_input: true,
    };
    ResNetConfig::resnet(Block::SelectiveKernelBasic(args), layers)
}

fn bottleneck(layers: [usize; 4], args: SkArgs) -> ResNetConfig {
    ResNetConfig::resnet(Block::SelectiveKernelBottleneck(args), layers)
}

/// Every named network of the file.
pub(crate) const NAMED: &[Named] = &[
    ("skresnet18", || basic([2, 2, 2, 2])),
    ("skresnet34", || basic([3, 4, 6, 3])),
    ("skresnet50", || bottleneck([3, 4, 6, 3], SkArgs::default())),
    ("skresnet50d", || {
        bottleneck([3, 4, 6, 3], SkArgs::default()).d()
    }),
    ("skresnext50_32x4d", || {
        let args = SkArgs {
            rd_divisor: 32,
            split_input: false,
            ..SkArgs::default()
        };
        bottleneck([3, 4, 6, 3], args).groups(32, 4)
    }),
];
