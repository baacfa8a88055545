//! `BasicBlock` of ResNet-18 and ResNet-34: two 3x3 convolutions and the shortcut.
//!
//! He et al., *Deep Residual Learning for Image Recognition*, [arXiv:1512.03385]; timm's [`models/resnet.py`].
//!
//! [arXiv:1512.03385]: https://arxiv.org/abs/1512.03385
//! [`models/resnet.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/resnet.py

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::Residual;

use crate::block::{BlockSpec, Downsample, ResidualBlock};
use crate::config::BlockArgs;
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::layers::act::Act;
use crate::layers::blur_pool::{Aa, create_aa};
use crate::layers::conv::{Conv2d, Conv2dConfig};
use crate::layers::conv_bn_act::conv_norm_act_for;
use crate::layers::create_attn::{Attn, conv_norm_attn_add_act};
use crate::layers::norm::{Norm, Normalise};
use crate::trace::Trace;

/// The block of ResNet-18 and ResNet-34.
#[derive(Clone, Debug)]
pub(crate) struct BasicBlock {
    conv1: Conv2d,
    bn1: Norm,
    aa: Option<Aa>,
    conv2: Conv2d,
    bn2: Norm,
    se: Option<Attn>,
    downsample: Option<Downsample>,
}

impl BasicBlock {
    pub(crate) fn new(spec: &BlockSpec, args: &BlockArgs, vb: VarBuilder) -> Result<Self> {
        let first = spec.planes / spec.reduce_first;
        let out = spec.out_chans;
        let norm = |chans, name| Norm::new(spec.norm_layer, chans, vb.pp(name));
        let aa = spec.aa_layer();
        let conv1 = spec.conv3x3(aa.is_some());
        let conv2 = Conv2dConfig {
            padding: spec.dilation,
            dilation: spec.dilation,
            ..Conv2dConfig::new(3, 1)
        };
        Ok(Self {
            conv1: Conv2d::new(spec.in_chans, first, conv1, vb.pp("conv1"))?,
            bn1: norm(first, "bn1")?,
            aa: create_aa(aa, first, spec.stride, vb.pp("aa").prefix()),
            conv2: Conv2d::new(first, out, conv2, vb.pp("conv2"))?,
            bn2: norm(out, "bn2")?,
            se: Attn::new(args.attn_layer.as_ref(), out, out, vb.pp("se"))?,
            downsample: Downsample::new(spec, out, vb.pp("downsample"))?,
        })
    }
}

impl ResidualBlock for BasicBlock {
    fn forward(&self, x: Residual, trace: &mut Trace) -> Result<Tensor> {
        let next = self.conv2.packed().filter(|_| self.aa.is_none());
        let conv = &self.conv1;
        let mut out = conv_norm_act_for(conv, &self.bn1, Act::Relu, &x, next, trace)?;
        if let Some(aa) = &self.aa {
            out = aa.forward(&out, trace)?;
        }
        let shortcut = Downsample::shortcut(self.downsample.as_ref(), x, trace)?;
        let se = self.se.as_ref();
        conv_norm_attn_add_act(&self.conv2, &self.bn2, se, shortcut, &out, trace)
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.conv1.fuse(self.bn1.foldable(), fuser)?;
        if let Some(aa) = &mut self.aa {
            aa.fuse(fuser)?;
        }
        if let Some(downsample) = &mut self.downsample {
            downsample.fuse(fuser)?;
        }
        self.conv2.fuse(self.bn2.foldable(), fuser)?;
        match &mut self.se {
            Some(se) => se.fuse(fuser),
            None => Ok(()),
        }
    }

    fn weight_bytes(&self) -> usize {
        let downsample = self.downsample.as_ref().map_or(0, Downsample::weight_bytes);
        let se = self.se.as_ref().map_or(0, Attn::bytes);
        self.conv1.bytes() + self.conv2.bytes() + se + downsample
    }
}
