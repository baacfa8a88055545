//! The layers before the first block, the pool after them aside.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::{ResNetConfig, StemType};
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::layers::{Act, BatchNorm2d, Conv2d, Conv2dConfig, conv_norm_act};
use crate::trace::Trace;

/// `conv1` and `bn1`.
pub(super) fn new_stem(config: &ResNetConfig, vb: &VarBuilder) -> Result<(Stem, BatchNorm2d)> {
    let chans = config.stem_type.out_chans(config.stem_width);
    let conv1 = Stem::new(config, vb.pp("conv1"))?;
    Ok((conv1, BatchNorm2d::new(chans, vb.pp("bn1"))?))
}

/// The first convolutions, up to and including `bn1` and `act1`.
#[derive(Debug)]
pub(super) enum Stem {
    Conv7x7(Conv2d),
    Deep(Box<DeepStem>),
}

/// `conv1` as a sequence; the numbers are the indices in the checkpoint's names.
#[derive(Debug)]
pub(super) struct DeepStem {
    conv_0: Conv2d,
    norm_1: BatchNorm2d,
    conv_3: Conv2d,
    norm_4: BatchNorm2d,
    conv_6: Conv2d,
}

impl Stem {
    fn new(config: &ResNetConfig, vb: VarBuilder) -> Result<Self> {
        let width = config.stem_width;
        let first = match config.stem_type {
            StemType::Conv7x7 => {
                let conv = Conv2d::new(config.in_chans, 64, Conv2dConfig::new(7, 2), vb)?;
                return Ok(Stem::Conv7x7(conv));
            }
            StemType::Deep => width,
            StemType::DeepTiered => 3 * (width / 4),
        };
        let conv = Conv2dConfig::new(3, 1);
        let conv_s2 = Conv2dConfig::new(3, 2);
        Ok(Stem::Deep(Box::new(DeepStem {
            conv_0: Conv2d::new(config.in_chans, first, conv_s2, vb.pp(0))?,
            norm_1: BatchNorm2d::new(first, vb.pp(1))?,
            conv_3: Conv2d::new(first, width, conv, vb.pp(3))?,
            norm_4: BatchNorm2d::new(width, vb.pp(4))?,
            conv_6: Conv2d::new(width, width * 2, conv, vb.pp(6))?,
        })))
    }

    /// The network's first convolution.
    pub(super) fn first(&self) -> &Conv2d {
        match self {
            Stem::Conv7x7(conv) => conv,
            Stem::Deep(stem) => &stem.conv_0,
        }
    }

    pub(super) fn fuse(&mut self, bn1: &BatchNorm2d, fuser: &mut Fuser) -> ModelResult<()> {
        let stem = match self {
            Stem::Conv7x7(conv) => return conv.fuse(Some(bn1), fuser),
            Stem::Deep(stem) => stem,
        };
        stem.conv_0.fuse(Some(&stem.norm_1), fuser)?;
        stem.conv_3.fuse(Some(&stem.norm_4), fuser)?;
        stem.conv_6.fuse(Some(bn1), fuser)
    }

    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Stem::Conv7x7(conv) => conv.bytes(),
            Stem::Deep(stem) => stem.conv_0.bytes() + stem.conv_3.bytes() + stem.conv_6.bytes(),
        }
    }

    pub(super) fn forward(
        &self,
        x: &Tensor,
        bn1: &BatchNorm2d,
        trace: &mut Trace,
    ) -> Result<Tensor> {
        let stem = match self {
            Stem::Conv7x7(conv) => return conv_norm_act(conv, bn1, Act::Relu, x, trace),
            Stem::Deep(stem) => stem,
        };
        let x = conv_norm_act(&stem.conv_0, &stem.norm_1, Act::Relu, x, trace)?;
        let x = conv_norm_act(&stem.conv_3, &stem.norm_4, Act::Relu, &x, trace)?;
        conv_norm_act(&stem.conv_6, bn1, Act::Relu, &x, trace)
    }
}
