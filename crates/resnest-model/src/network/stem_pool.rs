//! The pool between the stem and the first block, or what replaces it: `maxpool` in the checkpoint in any case.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::{AaLayer, Block, ResNetConfig};
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::layers::act::Act;
use crate::layers::blur_pool::{Aa, BlurPool2d, create_aa};
use crate::layers::conv::{Conv2d, Conv2dConfig};
use crate::layers::conv_bn_act::conv_norm_act;
use crate::layers::nan::relu;
use crate::layers::norm::{Norm, Normalise};
use crate::layers::pool::{AvgPool2d, AvgPoolRule, MaxPool2d, MaxPoolRule};
use crate::trace::Trace;

/// (N, C, H, W) → (N, C, H', W'), half the size.
#[derive(Clone, Debug)]
pub(super) enum StemPool {
    Max(MaxPool2d),
    /// With `aa_layer` an average pool.
    Avg(AvgPool2d),
    /// With `aa_layer` a blur.
    MaxBlur(MaxPool2d, BlurPool2d),
    /// `replace_stem_pool`.
    Conv(Box<ConvPool>),
}

/// A strided convolution, norm and ReLU in the pool's place; with an anti-aliasing layer this has the
/// stride, before the norm.
#[derive(Clone, Debug)]
pub(super) struct ConvPool {
    conv: Conv2d,
    aa: Option<Aa>,
    norm: Norm,
}

impl StemPool {
    pub(super) fn new(config: &ResNetConfig, vb: &VarBuilder) -> Result<Self> {
        let (chans, vb) = (config.stem_chans(), vb.pp("maxpool"));
        let max = |rule, path: String| MaxPool2d::new(rule, path);
        if let Block::SeNet(_) = config.block {
            return Ok(StemPool::Max(max(MaxPoolRule::Ceil3x3, "pool0".to_owned())));
        }
        if config.replace_stem_pool {
            return ConvPool::new(config, chans, vb).map(|pool| StemPool::Conv(Box::new(pool)));
        }
        Ok(match config.aa_layer {
            None => StemPool::Max(max(MaxPoolRule::Padded3x3 { stride: 2 }, vb.prefix())),
            Some(AaLayer::AvgPool) => {
                StemPool::Avg(AvgPool2d::new(AvgPoolRule::Floor2x2, vb.prefix()))
            }
            Some(AaLayer::BlurPool) => StemPool::MaxBlur(
                max(MaxPoolRule::Padded3x3 { stride: 1 }, vb.pp(0).prefix()),
                BlurPool2d::new(chans, 2, vb.pp(1).prefix()),
            ),
        })
    }

    pub(super) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        match self {
            StemPool::Max(pool) => pool.forward(x, trace),
            StemPool::Avg(pool) => pool.forward(x, trace),
            StemPool::MaxBlur(pool, blur) => blur.forward(&pool.forward(x, trace)?, trace),
            StemPool::Conv(pool) => pool.forward(x, trace),
        }
    }

    pub(super) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        match self {
            StemPool::Max(pool) => pool.fuse(),
            StemPool::Avg(pool) => pool.fuse(),
            StemPool::MaxBlur(pool, blur) => {
                pool.fuse();
                blur.fuse(fuser)?;
            }
            StemPool::Conv(pool) => pool.fuse(fuser)?,
        }
        Ok(())
    }

    /// Bytes of weights held by convolutions.
    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            StemPool::Conv(pool) => pool.conv.bytes(),
            _ => 0,
        }
    }
}

impl ConvPool {
    fn new(config: &ResNetConfig, chans: usize, vb: VarBuilder) -> Result<Self> {
        let stride = if config.aa_layer.is_some() { 1 } else { 2 };
        let conv = Conv2dConfig::new(3, stride);
        // The norm's number in timm's sequence: the anti-aliasing layer, if there is one, has the number before.
        let norm = 1 + usize::from(config.aa_layer.is_some());
        Ok(Self {
            conv: Conv2d::new(chans, chans, conv, vb.pp(0))?,
            aa: create_aa(config.aa_layer, chans, 2, vb.pp(1).prefix()),
            norm: Norm::new(config.norm_layer, chans, vb.pp(norm))?,
        })
    }

    fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let Some(aa) = &self.aa else {
            return conv_norm_act(&self.conv, &self.norm, Act::Relu, x, trace);
        };
        let x = aa.forward(&self.conv.forward(x, trace)?, trace)?;
        let y = relu(&self.norm.forward(x)?)?;
        trace.step("maxpool", "norm, relu", &y);
        Ok(y)
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        match &mut self.aa {
            Some(aa) => {
                self.conv.fuse(None, fuser)?;
                aa.fuse(fuser)
            }
            None => self.conv.fuse(self.norm.foldable(), fuser),
        }
    }
}
