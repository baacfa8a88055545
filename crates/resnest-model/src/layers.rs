//! Convolution, batch norm and linear layer, and the compositions blocks are written in.
//!
//! Blocks call [`conv_norm_act`], [`conv_norm`] and [`conv_norm_add_act`]: they say *what* is
//! computed. How is decided here, once for every block.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use crate::trace::Trace;

/// timm builds every norm of this family with PyTorch's default.
const EPS: f64 = 1e-5;

/// What follows a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing.
    Identity,
    /// max(x, 0).
    Relu,
}

impl Act {
    fn apply(self, x: Tensor) -> Result<Tensor> {
        match self {
            Act::Identity => Ok(x),
            Act::Relu => x.relu(),
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

/// `nn.Conv2d`: (N, C_in, H, W) → (N, C_out, H', W').
#[derive(Clone, Debug)]
pub(crate) struct Conv2d {
    weight: Tensor,       // (C_out, C_in / groups, k, k)
    bias: Option<Tensor>, // (1, C_out, 1, 1)
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
        let path = vb.prefix();
        Ok(Self {
            weight,
            bias,
            config,
            path,
        })
    }

    /// A 1x1 convolution that does what `linear` does at every pixel.
    pub(crate) fn from_linear(linear: &Linear) -> Result<Self> {
        let (out_chans, in_chans) = linear.weight.dims2()?;
        Ok(Self {
            weight: linear.weight.reshape((out_chans, in_chans, 1, 1))?,
            bias: Some(linear.bias.reshape((1, out_chans, 1, 1))?),
            config: Conv2dConfig {
                bias: true,
                ..Conv2dConfig::new(1, 1)
            },
            path: linear.path.clone(),
        })
    }

    /// The convolution alone.
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let y = self.compute(x)?;
        self.report(&y, "", trace);
        Ok(y)
    }

    fn compute(&self, x: &Tensor) -> Result<Tensor> {
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
        let y = x.conv2d(&self.weight, padding, stride, dilation, groups)?;
        match &self.bias {
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
        let shape = (0, self.weight.dim(0)?, out(h), out(w));
        Tensor::zeros(shape, x.dtype(), x.device())
    }

    fn report(&self, y: &Tensor, suffix: &str, trace: &mut Trace) {
        let c = &self.config;
        let describe = || {
            let mut text = format!("conv {0}x{0}", c.kernel);
            for (name, value) in [
                ("stride", c.stride),
                ("dilation", c.dilation),
                ("groups", c.groups),
            ] {
                if value != 1 {
                    text += &format!(" {name} {value}");
                }
            }
            text + suffix
        };
        let taps = self.weight.elem_count() / self.weight.dims()[0].max(1);
        trace.multiply(&self.path, describe, y, taps);
    }
}

/// `nn.BatchNorm2d` at inference: per channel `x * scale + shift`.
#[derive(Clone, Debug)]
pub(crate) struct BatchNorm2d {
    scale: Tensor, // (1, C, 1, 1)
    shift: Tensor, // (1, C, 1, 1)
}

impl BatchNorm2d {
    /// Reads `weight`, `bias`, `running_mean` and `running_var`, and folds them into one scale and
    /// one shift.
    ///
    /// The folding is done in f32 whatever the dtype of the weights: f16 would round the variance
    /// before its root is taken.
    pub(crate) fn new(chans: usize, vb: VarBuilder) -> Result<Self> {
        let dtype = vb.dtype();
        let wide = match dtype {
            DType::F64 => DType::F64,
            _ => DType::F32,
        };
        let get = |name| vb.get(chans, name)?.to_dtype(wide);
        let (weight, bias) = (get("weight")?, get("bias")?);
        let (mean, var) = (get("running_mean")?, get("running_var")?);
        let scale = (weight / (var + EPS)?.sqrt()?)?;
        let shift = (bias - (mean * &scale)?)?;
        let per_channel = |t: Tensor| t.to_dtype(dtype)?.reshape((1, chans, 1, 1));
        Ok(Self {
            scale: per_channel(scale)?,
            shift: per_channel(shift)?,
        })
    }

    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let x = x.broadcast_mul(&self.scale)?;
        x.broadcast_add(&self.shift)
    }
}

/// `nn.Linear` with bias: (N, in) → (N, out).
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weight: Tensor, // (out, in)
    bias: Tensor,   // (out)
    path: String,
}

impl Linear {
    /// Reads `weight` and `bias`.
    pub(crate) fn new(in_features: usize, out_features: usize, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get((out_features, in_features), "weight")?;
        let bias = vb.get(out_features, "bias")?;
        let path = vb.prefix();
        Ok(Self { weight, bias, path })
    }

    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let (out_features, in_features) = self.weight.dims2()?;
        let y = match x.dim(0)? {
            0 => Tensor::zeros((0, out_features), x.dtype(), x.device())?,
            _ => x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?,
        };
        trace.multiply(&self.path, || "linear".to_owned(), &y, in_features);
        Ok(y)
    }
}

/// `act(norm(conv(x)))`.
pub(crate) fn conv_norm_act(
    conv: &Conv2d,
    norm: &BatchNorm2d,
    act: Act,
    x: &Tensor,
    trace: &mut Trace,
) -> Result<Tensor> {
    let y = act.apply(norm.forward(conv.compute(x)?)?)?;
    conv.report(&y, act.after_norm(), trace);
    Ok(y)
}

/// `relu(norm(conv(x)) + shortcut)`: the end of every residual block.
pub(crate) fn conv_norm_add_act(
    conv: &Conv2d,
    norm: &BatchNorm2d,
    shortcut: &Tensor,
    x: &Tensor,
    trace: &mut Trace,
) -> Result<Tensor> {
    let y = norm.forward(conv.compute(x)?)?;
    let y = (y + shortcut)?.relu()?;
    conv.report(&y, ", norm, + shortcut, relu", trace);
    Ok(y)
}
