//! `Bottleneck` of ResNet-50 and larger: 1x1, 3x3, 1x1, and the shortcut.
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
use crate::layers::conv_bn_act::conv_norm_act_twice;
use crate::layers::create_attn::{Attn, conv_norm_attn_add_act};
use crate::layers::norm::{Norm, Normalise};
use crate::trace::Trace;

/// The block of ResNet-50 and larger; with groups that of ResNeXt. The stride is the 3x3's.
#[derive(Clone, Debug)]
pub(crate) struct Bottleneck {
    conv1: Conv2d,
    bn1: Norm,
    conv2: Conv2d,
    bn2: Norm,
    aa: Option<Aa>,
    conv3: Conv2d,
    bn3: Norm,
    se: Option<Attn>,
    downsample: Option<Downsample>,
}

impl Bottleneck {
    pub(crate) fn new(spec: &BlockSpec, args: &BlockArgs, vb: VarBuilder) -> Result<Self> {
        let named_out = spec.out_chans;
        let width = spec.width();
        let [first, width, out] =
            spec.pruned
                .unwrap_or([width / spec.reduce_first, width, named_out]);
        let norm = |chans, name| Norm::new(spec.norm_layer, chans, vb.pp(name));
        let aa = spec.aa_layer();
        let one = Conv2dConfig::new(1, 1);
        let conv2 = spec.conv3x3(aa.is_some());
        let attn = args.attn_layer.as_ref();
        Ok(Self {
            conv1: Conv2d::new(spec.in_chans, first, one, vb.pp("conv1"))?,
            bn1: norm(first, "bn1")?,
            conv2: Conv2d::new(first, width, conv2, vb.pp("conv2"))?,
            bn2: norm(width, "bn2")?,
            aa: create_aa(aa, width, spec.stride, vb.pp("aa").prefix()),
            conv3: Conv2d::new(width, out, one, vb.pp("conv3"))?,
            bn3: norm(out, "bn3")?,
            se: Attn::new(attn, named_out, out, vb.pp("se"))?,
            downsample: Downsample::new(spec, out, vb.pp("downsample"))?,
        })
    }
}

impl ResidualBlock for Bottleneck {
    fn forward(&self, x: Residual, trace: &mut Trace) -> Result<Tensor> {
        let first = (&self.conv1, &self.bn1, Act::Relu);
        let second = (&self.conv2, &self.bn2, Act::Relu);
        let next = self.aa.is_none().then_some(&self.conv3);
        let mut out = conv_norm_act_twice(first, second, &x, next, trace)?;
        if let Some(aa) = &self.aa {
            out = aa.forward(&out, trace)?;
        }
        let shortcut = Downsample::shortcut(self.downsample.as_ref(), x, trace)?;
        let se = self.se.as_ref();
        conv_norm_attn_add_act(&self.conv3, &self.bn3, se, shortcut, &out, trace)
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.conv1.fuse(self.bn1.foldable(), fuser)?;
        self.conv2.fuse(self.bn2.foldable(), fuser)?;
        if let Some(aa) = &mut self.aa {
            aa.fuse(fuser)?;
        }
        if let Some(downsample) = &mut self.downsample {
            downsample.fuse(fuser)?;
        }
        self.conv3.fuse(self.bn3.foldable(), fuser)?;
        match &mut self.se {
            Some(se) => se.fuse(fuser),
            None => Ok(()),
        }
    }

    fn weight_bytes(&self) -> usize {
        let downsample = self.downsample.as_ref().map_or(0, Downsample::weight_bytes);
        let se = self.se.as_ref().map_or(0, Attn::bytes);
        let convs = [&self.conv1, &self.conv2, &self.conv3].map(Conv2d::bytes);
        convs.iter().sum::<usize>() + se + downsample
    }
}
