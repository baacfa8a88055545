//! Convolution and linear layer, and the compositions blocks are written in.
//!
//! Blocks call [`conv_norm_act`], [`conv_norm_add_act`] and [`conv_act`]: they say *what* is
//! computed. How is decided here, once for every block.

use std::ops::Deref;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::{ConvSpec, PackedConv};

use super::nan::relu;
use super::norm::{BatchNorm2d, Normalise};
use crate::error::{Error, Result as ModelResult};
use crate::fuse::{Fuser, check_finite, check_fusable, to_vec, with_values};
use crate::trace::Trace;

/// What follows a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing.
    Identity,
    /// max(x, 0); NaN stays NaN.
    Relu,
}

impl Act {
    fn apply(self, x: Tensor) -> Result<Tensor> {
        match self {
            Act::Identity => Ok(x),
            Act::Relu => relu(&x),
        }
    }

    /// What a convolution with a norm and this after it is called in a trace.
    fn after_norm(self) -> &'static str {
        match self {
            Act::Identity => ", norm",
            Act::Relu => ", norm, relu",
        }
    }
}

/// Everything about a convolution that its weight does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conv2dConfig {
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Zeros on every side.
    pub padding: usize,
    /// Distance of the taps.
    pub dilation: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether there is a bias.
    pub bias: bool,
}

impl Conv2dConfig {
    /// A dense convolution without bias, padded so that stride 1 keeps the size.
    pub(crate) fn new(kernel: usize, stride: usize) -> Self {
        Self {
            kernel,
            stride,
            padding: kernel / 2,
            dilation: 1,
            groups: 1,
            bias: false,
        }
    }
}

/// The weights of a layer: as they were read, for candle's operations, or packed for a kernel.
#[derive(Clone, Debug)]
pub(crate) enum Weights {
    Plain {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    /// With the norm that follows the layer, if one does, folded in.
    Packed(Arc<PackedConv>),
}

impl Weights {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let of = |t: &Tensor| t.elem_count() * t.dtype().size_in_bytes();
        match self {
            Weights::Plain { weight, bias } => of(weight) + bias.as_ref().map_or(0, of),
            Weights::Packed(kernel) => kernel.bytes(),
        }
    }
}

/// `nn.Conv2d`: (N, C_in, H, W) → (N, C_out, H', W').
#[derive(Clone, Debug)]
pub(crate) struct Conv2d {
    weights: Weights, // plain: (C_out, C_in / groups, k, k) and (1, C_out, 1, 1)
    in_chans: usize,
    out_chans: usize,
    config: Conv2dConfig,
    path: String,
}

impl Conv2d {
    /// Reads `weight`, and `bias` if the configuration has one.
    pub(crate) fn new(
        in_chans: usize,
        out_chans: usize,
        config: Conv2dConfig,
        vb: VarBuilder,
    ) -> Result<Self> {
        let k = config.kernel;
        let weight = vb.get((out_chans, in_chans / config.groups, k, k), "weight")?;
        let bias = match config.bias {
            true => Some(vb.get(out_chans, "bias")?.reshape((1, out_chans, 1, 1))?),
            false => None,
        };
        Ok(Self {
            weights: Weights::Plain { weight, bias },
            in_chans,
            out_chans,
            config,
            path: vb.prefix(),
        })
    }

    /// A 1x1 convolution that does what `linear` does at every pixel.
    pub(crate) fn from_linear(linear: Linear) -> Result<Self> {
        let (in_chans, out_chans) = (linear.in_features, linear.out_features);
        let weights = match linear.weights {
            Weights::Plain { weight, bias } => Weights::Plain {
                weight: weight.reshape((out_chans, in_chans, 1, 1))?,
                bias: match bias {
                    Some(bias) => Some(bias.reshape((1, out_chans, 1, 1))?),
                    None => None,
                },
            },
            packed => packed,
        };
        Ok(Self {
            weights,
            in_chans,
            out_chans,
            config: Conv2dConfig {
                bias: true,
                ..Conv2dConfig::new(1, 1)
            },
            path: linear.path,
        })
    }

    /// The checkpoint's name.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Fails unless kernels can take over from weights like these.
    pub(crate) fn check_fusable(&self) -> ModelResult<()> {
        match &self.weights {
            Weights::Plain { weight, .. } => {
                check_fusable(&self.path, weight.dtype(), weight.device())
            }
            Weights::Packed(_) => Ok(()),
        }
    }

    /// Packs the weights for a kernel, the norm after the convolution folded in.
    pub(crate) fn fuse(
        &mut self,
        norm: Option<&BatchNorm2d>,
        fuser: &mut Fuser,
    ) -> ModelResult<()> {
        let (weight, bias) = self.folded(norm)?;
        let kernel = fuser.pack(&self.path, self.spec(), &weight, bias.as_deref())?;
        self.weights = Weights::Packed(Arc::new(kernel));
        Ok(())
    }

    /// The shape as the kernels put it.
    pub(crate) fn spec(&self) -> ConvSpec {
        let c = &self.config;
        ConvSpec::new(self.in_chans, self.out_chans, c.kernel)
            .stride(c.stride)
            .padding(c.padding)
            .dilation(c.dilation)
            .groups(c.groups)
    }

    /// Weight and bias of the convolution that equals this one with `norm` after it.
    pub(crate) fn folded(
        &self,
        norm: Option<&BatchNorm2d>,
    ) -> ModelResult<(Vec<f32>, Option<Vec<f32>>)> {
        let Weights::Plain { weight, bias } = &self.weights else {
            return Err(Error::fuse(&self.path, "it is packed already"));
        };
        self.check_fusable()?;
        let bias = match bias {
            Some(bias) => Some(to_vec(bias)?),
            None => None,
        };
        with_values(weight, |weight| match norm {
            Some(norm) => {
                let (weight, bias) = norm.fold(&self.path, weight, bias.as_deref())?;
                Ok((weight, Some(bias)))
            }
            None => {
                check_finite(&self.path, [weight, bias.as_deref().unwrap_or_default()])?;
                Ok((weight.to_vec(), bias))
            }
        })
    }

    /// Bytes of weights held.
    pub(crate) fn bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// The weights packed with the norm, once they are.
    pub(crate) fn packed(&self) -> Option<&PackedConv> {
        match &self.weights {
            Weights::Packed(kernel) => Some(kernel.as_ref()),
            Weights::Plain { .. } => None,
        }
    }

    /// The same to be kept by a kernel of several layers.
    pub(crate) fn shared(&self) -> Option<Arc<PackedConv>> {
        match &self.weights {
            Weights::Packed(kernel) => Some(Arc::clone(kernel)),
            Weights::Plain { .. } => None,
        }
    }

    /// Multiply-accumulates for every element put out.
    pub(crate) fn taps(&self) -> usize {
        let c = &self.config;
        self.in_chans / c.groups * c.kernel * c.kernel
    }

    /// The convolution alone.
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        trace.input(&self.path, || self.spec(), x);
        let y = match &self.weights {
            Weights::Packed(kernel) => kernel.forward(x, None, false)?,
            Weights::Plain { weight, bias } => self.compute(weight, bias.as_ref(), x)?,
        };
        self.report(&y, "", trace);
        Ok(y)
    }

    /// With the norm that `kernel` holds: the map and its means over height and width, (N, C).
    pub(crate) fn forward_with_means(
        &self,
        kernel: &PackedConv,
        act: Act,
        x: &Tensor,
        trace: &mut Trace,
    ) -> Result<(Tensor, Tensor)> {
        trace.input(&self.path, || self.spec(), x);
        let (y, means) = kernel.forward_with_means(x, act == Act::Relu)?;
        let suffix = match act {
            Act::Identity => ", norm, mean over H, W",
            Act::Relu => ", norm, relu, mean over H, W",
        };
        self.report(&y, suffix, trace);
        Ok((y, means))
    }

    fn compute(&self, weight: &Tensor, bias: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
        let Conv2dConfig {
            stride,
            padding,
            dilation,
            groups,
            ..
        } = self.config;
        if x.dim(0)? == 0 {
            return self.of_no_images(x);
        }
        let y = x.conv2d(weight, padding, stride, dilation, groups)?;
        match bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// An empty batch gives an empty batch, as in PyTorch; candle's grouped convolution would
    /// panic.
    fn of_no_images(&self, x: &Tensor) -> Result<Tensor> {
        let c = &self.config;
        let (_, _, h, w) = x.dims4()?;
        let out = |size: usize| {
            (size + 2 * c.padding).saturating_sub(c.dilation * (c.kernel - 1) + 1) / c.stride + 1
        };
        let shape = (0, self.out_chans, out(h), out(w));
        Tensor::zeros(shape, x.dtype(), x.device())
    }

    fn report(&self, y: &Tensor, suffix: &str, trace: &mut Trace) {
        let describe = || describe(&self.spec()) + suffix;
        trace.multiply(&self.path, describe, y, self.taps());
    }
}

/// `conv 3x3 stride 2 groups 8`: what is not the usual is said.
pub(crate) fn describe(spec: &ConvSpec) -> String {
    let mut text = format!("conv {0}x{0}", spec.kernel);
    for (name, value) in [
        ("stride", spec.stride),
        ("dilation", spec.dilation),
        ("groups", spec.groups),
    ] {
        if value != 1 {
            text += &format!(" {name} {value}");
        }
    }
    text
}

/// `nn.Linear` with bias: (N, in) → (N, out).
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weights: Weights, // plain: (out, in) and (out)
    in_features: usize,
    out_features: usize,
    path: String,
}

impl Linear {
    /// Reads `weight` and `bias`.
    pub(crate) fn new(in_features: usize, out_features: usize, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get((out_features, in_features), "weight")?;
        let bias = Some(vb.get(out_features, "bias")?);
        Ok(Self {
            weights: Weights::Plain { weight, bias },
            in_features,
            out_features,
            path: vb.prefix(),
        })
    }

    /// Packs the weights for a kernel.
    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        let Weights::Plain { weight, bias } = &self.weights else {
            return Ok(());
        };
        check_fusable(&self.path, weight.dtype(), weight.device())?;
        let bias = match bias {
            Some(bias) => Some(to_vec(bias)?),
            None => None,
        };
        let kernel = with_values(weight, |weight| {
            check_finite(&self.path, [weight, bias.as_deref().unwrap_or_default()])?;
            fuser.pack(&self.path, self.spec(), weight, bias.as_deref())
        })?;
        self.weights = Weights::Packed(Arc::new(kernel));
        Ok(())
    }

    /// The same as a convolution over single pixels.
    fn spec(&self) -> ConvSpec {
        ConvSpec::new(self.in_features, self.out_features, 1)
    }

    /// Bytes of weights held.
    pub(crate) fn bytes(&self) -> usize {
        self.weights.bytes()
    }

    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        trace.input(&self.path, || self.spec(), x);
        let y = match &self.weights {
            Weights::Packed(kernel) => kernel.forward_rows(x)?,
            Weights::Plain { weight, bias } => self.compute(weight, bias.as_ref(), x)?,
        };
        trace.multiply(&self.path, || "linear".to_owned(), &y, self.in_features);
        Ok(y)
    }

    /// What the layer without its bias makes of every pixel: (N, in, H, W) → (N, out, H, W).
    pub(crate) fn at_every_pixel(&self, map: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = map.dims4()?;
        let rows = map.permute((0, 2, 3, 1))?.reshape((n * h * w, c))?;
        let y = match &self.weights {
            Weights::Plain { weight, .. } => self.compute(weight, None, &rows)?,
            // The packed bias cannot be left out, but nothing in gives the bias alone.
            Weights::Packed(kernel) => {
                let nothing = Tensor::zeros((1, c), map.dtype(), map.device())?;
                let bias = kernel.forward_rows(&nothing)?;
                kernel.forward_rows(&rows)?.broadcast_sub(&bias)?
            }
        };
        y.reshape((n, h, w, self.out_features))?
            .permute((0, 3, 1, 2))
    }

    fn compute(&self, weight: &Tensor, bias: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
        if x.dim(0)? == 0 {
            return Tensor::zeros((0, self.out_features), x.dtype(), x.device());
        }
        let y = x.matmul(&weight.t()?)?;
        match bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// A convolution, its norm and what follows.
pub(crate) type ConvNormAct<'a, N> = (&'a Conv2d, &'a N, Act);

/// Two of them one after the other; as one, where kernels can do that and nobody records steps.
pub(crate) fn conv_norm_act_twice<'a, N: Normalise>(
    first: ConvNormAct<'a, N>,
    second: ConvNormAct<'a, N>,
    x: &Tensor,
    trace: &mut Trace,
) -> Result<Tensor> {
    let folded = |conv: &'a Conv2d, norm: &N| conv.packed().filter(|_| norm.foldable().is_some());
    if !trace.is_on()
        && let (Some(kernel), Some(next)) = (folded(first.0, first.1), folded(second.0, second.1))
        && kernel.leads_to(next)
    {
        let relu = [first.2, second.2].map(|act| act == Act::Relu);
        return kernel.forward_before(next, x, relu);
    }
    let (conv, norm, act) = first;
    let between = conv_norm_act(conv, norm, act, x, trace)?;
    let (conv, norm, act) = second;
    conv_norm_act(conv, norm, act, &between, trace)
}

/// `act(norm(conv(x)))`.
pub(crate) fn conv_norm_act(
    conv: &Conv2d,
    norm: &impl Normalise,
    act: Act,
    x: &Tensor,
    trace: &mut Trace,
) -> Result<Tensor> {
    trace.input(&conv.path, || conv.spec(), x);
    let y = match &conv.weights {
        Weights::Packed(kernel) if norm.foldable().is_some() => {
            kernel.forward(x, None, act == Act::Relu)?
        }
        Weights::Packed(kernel) => act.apply(norm.forward(kernel.forward(x, None, false)?)?)?,
        Weights::Plain { weight, bias } => {
            act.apply(norm.forward(conv.compute(weight, bias.as_ref(), x)?)?)?
        }
    };
    conv.report(&y, act.after_norm(), trace);
    Ok(y)
}

/// A map, and whether anybody but the block that is given it holds it.
#[derive(Debug)]
pub(crate) enum Held<'a> {
    /// Others may read it later.
    Shared(&'a Tensor),
    /// Nobody else has it: a result may be written over it.
    Own(Tensor),
}

impl Deref for Held<'_> {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        match self {
            Held::Shared(map) => map,
            Held::Own(map) => map,
        }
    }
}

/// `relu(norm(conv(x)) + shortcut)`: the end of every residual block.
pub(crate) fn conv_norm_add_act(
    conv: &Conv2d,
    norm: &impl Normalise,
    shortcut: Held,
    x: &Tensor,
    trace: &mut Trace,
) -> Result<Tensor> {
    trace.input(&conv.path, || conv.spec(), x);
    let y = match &conv.weights {
        Weights::Packed(kernel) if norm.foldable().is_some() => match shortcut {
            Held::Shared(shortcut) => kernel.forward(x, Some(shortcut), true)?,
            Held::Own(shortcut) => kernel.forward_onto(x, shortcut, true)?,
        },
        Weights::Packed(kernel) => {
            relu(&(norm.forward(kernel.forward(x, None, false)?)? + &*shortcut)?)?
        }
        Weights::Plain { weight, bias } => {
            let y = norm.forward(conv.compute(weight, bias.as_ref(), x)?)?;
            relu(&(y + &*shortcut)?)?
        }
    };
    conv.report(&y, ", norm, + shortcut, relu", trace);
    Ok(y)
}

/// `act(conv(x))`: a convolution with a bias instead of a norm.
pub(crate) fn conv_act(conv: &Conv2d, act: Act, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
    trace.input(&conv.path, || conv.spec(), x);
    let y = match &conv.weights {
        Weights::Packed(kernel) => kernel.forward(x, None, act == Act::Relu)?,
        Weights::Plain { weight, bias } => act.apply(conv.compute(weight, bias.as_ref(), x)?)?,
    };
    let suffix = if act == Act::Relu { ", relu" } else { "" };
    conv.report(&y, suffix, trace);
    Ok(y)
}
