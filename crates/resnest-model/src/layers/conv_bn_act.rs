//! Convolution, norm and activation as one module (`timm/layers/conv_bn_act.py`).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::blur_pool::{Aa, create_aa};
use super::conv::{Act, Conv2d, Conv2dConfig, conv_norm_act};
use super::norm::{Norm, Normalise};
use crate::config::{AaLayer, NormLayer};
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::helpers::get_padding;
use crate::trace::Trace;

/// `ConvNormAct`, its activation left to the caller: blocks apply none after the last.
#[derive(Clone, Debug)]
pub(crate) struct ConvNormAct {
    pub conv: Conv2d,
    pub bn: Norm,
    aa: Option<Aa>,
}

impl ConvNormAct {
    /// `config` gives kernel, stride, dilation and groups; padding follows from them. With an
    /// anti-aliasing layer the stride is its, where there is one.
    pub(crate) fn new(
        in_chans: usize,
        out_chans: usize,
        config: Conv2dConfig,
        (norm, aa): (NormLayer, Option<AaLayer>),
        vb: VarBuilder,
    ) -> Result<Self> {
        let aa = aa.filter(|_| config.stride > 1);
        let config = Conv2dConfig {
            padding: get_padding(config.kernel, config.stride, config.dilation),
            ..config
        };
        let (stride, padding) = match aa {
            Some(_) => (1, get_padding(config.kernel, 1, config.dilation)),
            None => (config.stride, config.padding),
        };
        let conv = Conv2dConfig {
            stride,
            padding,
            ..config
        };
        Ok(Self {
            conv: Conv2d::new(in_chans, out_chans, conv, vb.pp("conv"))?,
            bn: Norm::new(norm, out_chans, vb.pp("bn"))?,
            aa: create_aa(aa, out_chans, config.stride, vb.pp("aa").prefix()),
        })
    }

    pub(crate) fn forward(&self, act: Act, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let y = conv_norm_act(&self.conv, &self.bn, act, x, trace)?;
        match &self.aa {
            Some(aa) => aa.forward(&y, trace),
            None => Ok(y),
        }
    }

    /// Whether the convolution with its norm folded in is all of it, but for the activation.
    pub(crate) fn whole(&self) -> bool {
        self.aa.is_none() && self.bn.foldable().is_some()
    }

    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.conv.fuse(self.bn.foldable(), fuser)?;
        match &mut self.aa {
            Some(aa) => aa.fuse(fuser),
            None => Ok(()),
        }
    }

    /// Bytes of weights held.
    pub(crate) fn bytes(&self) -> usize {
        self.conv.bytes()
    }
}
