//! Convolution, norm and activation as one step: the functions that blocks are written in, and timm's module
//! ([`layers/conv_bn_act.py`]).
//!
//! A block says what is computed; how, by candle's operations or by one kernel, is decided here for all blocks.
//!
//! [`layers/conv_bn_act.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/conv_bn_act.py

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::{ConvPair, PackedConv, Residual};

use super::act::Act;
use super::blur_pool::{Aa, create_aa};
use super::conv::{Conv2d, Conv2dConfig};
use super::nan::relu;
use super::norm::{Norm, Normalise};
use super::weights::Weights;
use crate::config::{AaLayer, NormLayer};
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::helpers::get_padding;
use crate::trace::Trace;

/// `act(norm(conv(x)))`.
pub(crate) fn conv_norm_act(
    conv: &Conv2d,
    norm: &impl Normalise,
    act: Act,
    x: &Tensor,
    trace: &mut Trace,
) -> Result<Tensor> {
    trace.input(conv.path(), || conv.spec(), x);
    let y = match conv.weights() {
        Weights::Packed(kernel) if norm.foldable().is_some() => {
            kernel.forward(x, None, act == Act::Relu)?
        }
        Weights::Packed(kernel) => act.apply(norm.forward(kernel.forward(x, None, false)?)?)?,
        Weights::Plain { weight, bias } => {
            act.apply(norm.forward(conv.compute(weight, bias.as_ref(), x, trace)?)?)?
        }
    };
    conv.report(&y, act.after_norm(), trace);
    Ok(y)
}

/// `relu(norm(conv(x)) + shortcut)`: the end of every residual block.
pub(crate) fn conv_norm_add_act(
    conv: &Conv2d,
    norm: &impl Normalise,
    shortcut: Residual,
    x: &Tensor,
    trace: &mut Trace,
) -> Result<Tensor> {
    trace.input(conv.path(), || conv.spec(), x);
    let y = match conv.weights() {
        Weights::Packed(kernel) if norm.foldable().is_some() => {
            kernel.forward(x, Some(shortcut), true)?
        }
        Weights::Packed(kernel) => {
            relu(&(norm.forward(kernel.forward(x, None, false)?)? + &*shortcut)?)?
        }
        Weights::Plain { weight, bias } => {
            let y = norm.forward(conv.compute(weight, bias.as_ref(), x, trace)?)?;
            relu(&(y + &*shortcut)?)?
        }
    };
    conv.report(&y, ", norm, + shortcut, relu", trace);
    Ok(y)
}

/// `act(conv(x))`: a convolution with a bias instead of a norm.
pub(crate) fn conv_act(conv: &Conv2d, act: Act, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
    trace.input(conv.path(), || conv.spec(), x);
    let y = match conv.weights() {
        Weights::Packed(kernel) => kernel.forward(x, None, act == Act::Relu)?,
        Weights::Plain { weight, bias } => {
            act.apply(conv.compute(weight, bias.as_ref(), x, trace)?)?
        }
    };
    let suffix = if act == Act::Relu { ", relu" } else { "" };
    conv.report(&y, suffix, trace);
    Ok(y)
}

/// [`conv_norm_act`] for the convolution `next` alone: what it gives may be in the form that `next` reads best, and is for
/// nobody else.
pub(crate) fn conv_norm_act_for(
    conv: &Conv2d,
    norm: &impl Normalise,
    act: Act,
    x: &Tensor,
    next: Option<&PackedConv>,
    trace: &mut Trace,
) -> Result<Tensor> {
    match (conv.packed(), next) {
        (Some(kernel), Some(next)) if norm.foldable().is_some() && !trace.is_on() => {
            kernel.forward_for(x, act == Act::Relu, next)
        }
        _ => conv_norm_act(conv, norm, act, x, trace),
    }
}

/// A convolution, its norm, and the activation after them.
type Layer<'a, N> = (&'a Conv2d, &'a N, Act);

/// Two such layers, one after the other: as a single kernel where there is one for the pair and no steps are recorded.
/// `next` is the convolution that alone reads the result, if there is one.
pub(crate) fn conv_norm_act_twice<'a, N: Normalise>(
    first: Layer<'a, N>,
    second: Layer<'a, N>,
    x: &Tensor,
    next: Option<&Conv2d>,
    trace: &mut Trace,
) -> Result<Tensor> {
    let folded = |conv: &'a Conv2d, norm: &N| conv.packed().filter(|_| norm.foldable().is_some());
    if !trace.is_on()
        && let (Some(kernel), Some(next)) = (folded(first.0, first.1), folded(second.0, second.1))
        && let Some(pair) = ConvPair::new(kernel, next)
    {
        let relu = [first.2, second.2].map(|act| act == Act::Relu);
        return pair.forward(x, relu);
    }
    let (conv, norm, act) = first;
    let between = conv_norm_act_for(conv, norm, act, x, second.0.packed(), trace)?;
    let (conv, norm, act) = second;
    let next = next.and_then(Conv2d::packed);
    conv_norm_act_for(conv, norm, act, &between, next, trace)
}

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
