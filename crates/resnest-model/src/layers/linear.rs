//! The linear layer, `nn.Linear`: the classifier.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::ConvSpec;

use super::conv::{Conv2d, Conv2dConfig};
use super::weights::Weights;
use crate::error::Result as ModelResult;
use crate::fuse::{Fuser, check_finite, check_fusable, to_vec};
use crate::trace::Trace;

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

    /// A 1x1 convolution that does what the layer does at every pixel.
    pub(crate) fn into_conv(self) -> Result<Conv2d> {
        let (in_chans, out_chans) = (self.in_features, self.out_features);
        let weights = match self.weights {
            Weights::Plain { weight, bias } => Weights::Plain {
                weight: weight.reshape((out_chans, in_chans, 1, 1))?,
                bias: match bias {
                    Some(bias) => Some(bias.reshape((1, out_chans, 1, 1))?),
                    None => None,
                },
            },
            packed => packed,
        };
        let config = Conv2dConfig {
            bias: true,
            ..Conv2dConfig::new(1, 1)
        };
        Ok(Conv2d::from_weights(
            weights,
            [in_chans, out_chans],
            config,
            self.path,
        ))
    }

    /// Packs the weights for a kernel.
    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        let Weights::Plain { weight, bias } = &self.weights else {
            return Ok(());
        };
        let folded = || {
            check_fusable(&self.path, weight.dtype(), weight.device())?;
            let weight = to_vec(weight)?;
            let bias = bias.as_ref().map(to_vec).transpose()?;
            check_finite(&self.path, [&weight, bias.as_deref().unwrap_or_default()])?;
            Ok((weight, bias))
        };
        let kernel = fuser.pack(&self.path, self.spec(), folded)?;
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
            Weights::Packed(kernel) => kernel.forward(x, None, false)?,
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
            // A packed bias cannot be left out; the layer's answer to zeros is the bias alone.
            Weights::Packed(kernel) => {
                let nothing = Tensor::zeros((1, c), map.dtype(), map.device())?;
                let bias = kernel.forward(&nothing, None, false)?;
                kernel.forward(&rows, None, false)?.broadcast_sub(&bias)?
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
