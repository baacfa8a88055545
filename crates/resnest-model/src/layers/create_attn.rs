//! The channel attention at the end of a block, by name: timm's [`layers/create_attn.py`].
//!
//! [`layers/create_attn.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/create_attn.py

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::Residual;

use super::act::Act;
use super::conv::Conv2d;
use super::conv_bn_act::conv_norm_add_act;
use super::eca::EcaModule;
use super::gate::{ChannelGate, conv_norm_act_gate_add_relu};
use super::norm::Normalise;
use super::pool::GlobalAvg;
use super::squeeze_excite::{SeModule, rd_channels};
use crate::config::AttnLayer;
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::trace::Trace;

/// A channel attention: a block's output is weighted by it before the shortcut is added.
#[derive(Clone, Debug)]
pub(crate) enum Attn {
    Se(SeModule),
    Eca(EcaModule),
}

impl Attn {
    /// `create_attn`. `named_chans` are the channels before any pruning, from which timm derives the
    /// sizes; `chans` those there are.
    pub(crate) fn new(
        layer: Option<&AttnLayer>,
        named_chans: usize,
        chans: usize,
        vb: VarBuilder,
    ) -> Result<Option<Self>> {
        Ok(match layer {
            None => None,
            Some(AttnLayer::Se { rd_ratio }) => {
                let hidden = rd_channels(named_chans, *rd_ratio);
                Some(Attn::Se(SeModule::new(chans, hidden, vb)?))
            }
            Some(AttnLayer::Eca) => Some(Attn::Eca(EcaModule::new(named_chans, vb)?)),
        })
    }

    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        match self {
            Attn::Se(se) => se.fuse(fuser),
            Attn::Eca(eca) => {
                eca.fuse();
                Ok(())
            }
        }
    }

    /// Bytes of weights held by convolutions.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Attn::Se(se) => se.bytes(),
            Attn::Eca(_) => 0,
        }
    }
}

impl ChannelGate for Attn {
    fn path(&self) -> &str {
        match self {
            Attn::Se(se) => se.path(),
            Attn::Eca(eca) => eca.path(),
        }
    }

    fn mean(&self) -> &GlobalAvg {
        match self {
            Attn::Se(se) => se.mean(),
            Attn::Eca(eca) => eca.mean(),
        }
    }

    fn gate(&self, means: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        match self {
            Attn::Se(se) => se.gate(means, trace),
            Attn::Eca(eca) => eca.gate(means, trace),
        }
    }
}

/// The end of a residual block: `relu(attn(norm(conv(x))) + shortcut)`.
pub(crate) fn conv_norm_attn_add_act(
    conv: &Conv2d,
    norm: &impl Normalise,
    attn: Option<&Attn>,
    shortcut: Residual,
    x: &Tensor,
    trace: &mut Trace,
) -> Result<Tensor> {
    let Some(attn) = attn else {
        return conv_norm_add_act(conv, norm, shortcut, x, trace);
    };
    conv_norm_act_gate_add_relu(conv, norm, Act::Identity, attn, &shortcut, x, trace)
}
