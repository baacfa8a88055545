//! The convolution, `nn.Conv2d`: candle's operation, or a packed kernel once it is fused.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::{ConvSpec, PackedConv};

use super::act::Act;
use super::norm::BatchNorm2d;
use super::weights::Weights;
use crate::error::{Error, Result as ModelResult};
use crate::fuse::{Folded, Fuser, check_finite, check_fusable, to_vec, with_values};
use crate::trace::Trace;

/// What a convolution has besides its channels and weights.
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

    /// One of weights that another layer holds.
    pub(super) fn from_weights(
        weights: Weights,
        [in_chans, out_chans]: [usize; 2],
        config: Conv2dConfig,
        path: String,
    ) -> Self {
        Self {
            weights,
            in_chans,
            out_chans,
            config,
            path,
        }
    }

    /// The layer's name in the checkpoint.
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
        let kernel = fuser.pack(&self.path, self.spec(), || self.folded(norm))?;
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
    pub(crate) fn folded(&self, norm: Option<&BatchNorm2d>) -> ModelResult<Folded> {
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

    /// What the layer computes from.
    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The weights packed with the norm, once they are.
    pub(crate) fn packed(&self) -> Option<&PackedConv> {
        match &self.weights {
            Weights::Packed(kernel) => Some(kernel.as_ref()),
            Weights::Plain { .. } => None,
        }
    }

    /// The same, to be kept by a kernel of several layers.
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
            Weights::Plain { weight, bias } => self.compute(weight, bias.as_ref(), x, trace)?,
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

    /// By candle's operations, from the weights as they were read.
    pub(super) fn compute(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        x: &Tensor,
        trace: &Trace,
    ) -> Result<Tensor> {
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
        let x = trace.seen(&self.path, || self.spec(), x)?;
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

    /// Reports the step that put out `y`; `suffix` names what was computed with the convolution.
    pub(super) fn report(&self, y: &Tensor, suffix: &str, trace: &mut Trace) {
        let operation = || format!("{}{suffix}", self.spec());
        trace.multiply(&self.path, operation, y, self.taps());
    }
}
