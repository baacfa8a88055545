//! The layers before the first block, but for the pool after them.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::{Block, ResNetConfig, StemType};
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::layers::act::Act;
use crate::layers::conv::{Conv2d, Conv2dConfig};
use crate::layers::conv_bn_act::conv_norm_act;
use crate::layers::norm::{Norm, Normalise};
use crate::models::senet::Layer0;
use crate::trace::Trace;

/// The first convolutions, with `bn1` and `act1`.
#[derive(Clone, Debug)]
pub(super) enum Stem {
    Conv7x7(Box<Conv7x7>),
    Deep(Box<DeepStem>),
    /// Of the legacy SE networks.
    Layer0(Box<Layer0>),
}

#[derive(Clone, Debug)]
pub(super) struct Conv7x7 {
    conv1: Conv2d,
    bn1: Norm,
}

/// `conv1` as a sequence; the numbers are the indices in the checkpoint's names.
#[derive(Clone, Debug)]
pub(super) struct DeepStem {
    conv_0: Conv2d,
    norm_1: Norm,
    conv_3: Conv2d,
    norm_4: Norm,
    conv_6: Conv2d,
    bn1: Norm,
}

impl Stem {
    pub(super) fn new(config: &ResNetConfig, vb: &VarBuilder) -> Result<Self> {
        if let Block::SeNet(_) = config.block {
            let layer0 = Layer0::new(config, &vb.pp("layer0"))?;
            return Ok(Stem::Layer0(Box::new(layer0)));
        }
        let out = config.stem_chans();
        let norm = |chans, vb| Norm::new(config.norm_layer, chans, vb);
        if config.stem_type == StemType::Conv7x7 {
            let conv = Conv2dConfig::new(7, 2);
            return Ok(Stem::Conv7x7(Box::new(Conv7x7 {
                conv1: Conv2d::new(config.in_chans, out, conv, vb.pp("conv1"))?,
                bn1: norm(out, vb.pp("bn1"))?,
            })));
        }
        let (first, width) = (config.first_chans(), config.stem_width);
        let conv = Conv2dConfig::new(3, 1);
        let conv_s2 = Conv2dConfig::new(3, 2);
        let conv1 = vb.pp("conv1");
        Ok(Stem::Deep(Box::new(DeepStem {
            conv_0: Conv2d::new(config.in_chans, first, conv_s2, conv1.pp(0))?,
            norm_1: norm(first, conv1.pp(1))?,
            conv_3: Conv2d::new(first, width, conv, conv1.pp(3))?,
            norm_4: norm(width, conv1.pp(4))?,
            conv_6: Conv2d::new(width, out, conv, conv1.pp(6))?,
            bn1: norm(out, vb.pp("bn1"))?,
        })))
    }

    /// The network's first convolution.
    pub(super) fn first(&self) -> &Conv2d {
        match self {
            Stem::Conv7x7(stem) => &stem.conv1,
            Stem::Deep(stem) => &stem.conv_0,
            Stem::Layer0(stem) => stem.first(),
        }
    }

    pub(super) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        let stem = match self {
            Stem::Conv7x7(stem) => return stem.conv1.fuse(stem.bn1.foldable(), fuser),
            Stem::Layer0(stem) => return stem.fuse(fuser),
            Stem::Deep(stem) => stem,
        };
        stem.conv_0.fuse(stem.norm_1.foldable(), fuser)?;
        stem.conv_3.fuse(stem.norm_4.foldable(), fuser)?;
        stem.conv_6.fuse(stem.bn1.foldable(), fuser)
    }

    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Stem::Conv7x7(stem) => stem.conv1.bytes(),
            Stem::Deep(stem) => stem.conv_0.bytes() + stem.conv_3.bytes() + stem.conv_6.bytes(),
            Stem::Layer0(stem) => stem.weight_bytes(),
        }
    }

    /// (N, in_chans, H, W) → (N, C, ⌈H/2⌉, ⌈W/2⌉).
    pub(super) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let stem = match self {
            Stem::Conv7x7(stem) => {
                return conv_norm_act(&stem.conv1, &stem.bn1, Act::Relu, x, trace);
            }
            Stem::Layer0(stem) => return stem.forward(x, trace),
            Stem::Deep(stem) => stem,
        };
        let x = conv_norm_act(&stem.conv_0, &stem.norm_1, Act::Relu, x, trace)?;
        let x = conv_norm_act(&stem.conv_3, &stem.norm_4, Act::Relu, &x, trace)?;
        conv_norm_act(&stem.conv_6, &stem.bn1, Act::Relu, &x, trace)
    }
}
