//! Norms: timm's [`layers/norm.py`] and [`layers/create_norm.py`].
//!
//! Ioffe and Szegedy, *Batch Normalization*, [arXiv:1502.03167]; Wu and He, *Group Normalization*, [arXiv:1803.08494].
//!
//! [`layers/norm.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/norm.py
//! [`layers/create_norm.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/create_norm.py
//! [arXiv:1502.03167]: https://arxiv.org/abs/1502.03167
//! [arXiv:1803.08494]: https://arxiv.org/abs/1803.08494

use candle_core::{D, DType, Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::{BatchNorm, fold_batch_norm};

use crate::config::NormLayer;
use crate::error::{Error, Result as ModelResult};
use crate::fuse::{not_finite, to_vec};

/// timm builds every norm of this family with PyTorch's default.
const EPS: f64 = 1e-5;

/// Groups of timm's `GroupNorm`.
pub(crate) const NORM_GROUPS: usize = 32;

/// What may follow a convolution and be one step with it.
pub(crate) trait Normalise {
    /// (N, C, H, W) → the same shape.
    fn forward(&self, x: Tensor) -> Result<Tensor>;

    /// The norm, if it is one that can be folded into the weights before it.
    fn foldable(&self) -> Option<&BatchNorm2d>;
}

/// The norm that a network is built with.
#[derive(Clone, Debug)]
pub(crate) enum Norm {
    Batch(BatchNorm2d),
    Group(GroupNorm),
}

impl Norm {
    pub(crate) fn new(layer: NormLayer, chans: usize, vb: VarBuilder) -> Result<Self> {
        Ok(match layer {
            NormLayer::BatchNorm => Norm::Batch(BatchNorm2d::new(chans, vb)?),
            NormLayer::GroupNorm => Norm::Group(GroupNorm::new(chans, vb)?),
        })
    }
}

impl Normalise for Norm {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        match self {
            Norm::Batch(norm) => norm.forward(x),
            Norm::Group(norm) => norm.forward(x),
        }
    }

    fn foldable(&self) -> Option<&BatchNorm2d> {
        match self {
            Norm::Batch(norm) => Some(norm),
            Norm::Group(_) => None,
        }
    }
}

/// `nn.BatchNorm2d` at inference: per channel `x * scale + shift`.
#[derive(Clone, Debug)]
pub(crate) struct BatchNorm2d {
    scale: Tensor, // (1, C, 1, 1)
    shift: Tensor, // (1, C, 1, 1)
    /// `weight`, `bias`, `running_mean`, `running_var`: what a kernel's weights are folded from,
    /// in f64, so that they are rounded once.
    read: [Tensor; 4],
    path: String,
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
        let scale = (&weight / (&var + EPS)?.sqrt()?)?;
        let shift = (&bias - (&mean * &scale)?)?;
        let per_channel = |t: Tensor| t.to_dtype(dtype)?.reshape((1, chans, 1, 1));
        Ok(Self {
            scale: per_channel(scale)?,
            shift: per_channel(shift)?,
            read: [weight, bias, mean, var],
            path: vb.prefix(),
        })
    }

    /// Weight and bias of the convolution that equals this norm after the convolution `conv`, whose
    /// weight and bias are given.
    pub(crate) fn fold(
        &self,
        conv: &str,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> ModelResult<(Vec<f32>, Vec<f32>)> {
        let [gamma, beta, mean, var] = &self.read;
        let norm = BatchNorm {
            gamma: &to_vec(gamma)?,
            beta: &to_vec(beta)?,
            mean: &to_vec(mean)?,
            var: &to_vec(var)?,
            eps: EPS,
        };
        fold_batch_norm(weight, bias, norm).map_err(|error| self.named(conv, error))
    }

    /// The error of a folding with the name of the tensor at fault.
    fn named(&self, conv: &str, error: resnest_kernels::Error) -> Error {
        let resnest_kernels::Error::NotFinite {
            name,
            channel,
            problem,
        } = error
        else {
            return Error::pack(conv, error);
        };
        let norm = &self.path;
        let tensor = match name {
            "gamma" => format!("{norm}.weight"),
            "beta" => format!("{norm}.bias"),
            "mean" => format!("{norm}.running_mean"),
            "var" => format!("{norm}.running_var"),
            _ => format!("{conv}.{name}"),
        };
        not_finite(conv, &tensor, &format!("channel {channel}: {problem}"))
    }
}

impl Normalise for BatchNorm2d {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let x = x.broadcast_mul(&self.scale)?;
        x.broadcast_add(&self.shift)
    }

    fn foldable(&self) -> Option<&BatchNorm2d> {
        Some(self)
    }
}

/// `GroupNorm`: every image's groups of channels brought to mean 0 and variance 1, then per channel
/// `x * weight + bias`.
#[derive(Clone, Debug)]
pub(crate) struct GroupNorm {
    weight: Tensor, // (1, C, 1, 1)
    bias: Tensor,   // (1, C, 1, 1)
}

impl GroupNorm {
    /// Reads `weight` and `bias`; `chans` divide into [`NORM_GROUPS`].
    pub(crate) fn new(chans: usize, vb: VarBuilder) -> Result<Self> {
        let get = |name| vb.get(chans, name)?.reshape((1, chans, 1, 1));
        Ok(Self {
            weight: get("weight")?,
            bias: get("bias")?,
        })
    }

    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let (n, c, h, w) = x.dims4()?;
        if n == 0 {
            return Ok(x);
        }
        let dtype = x.dtype();
        let wide = match dtype {
            DType::F64 => DType::F64,
            _ => DType::F32,
        };
        let groups = (n, NORM_GROUPS, c / NORM_GROUPS * h * w);
        let x = x.to_dtype(wide)?.reshape(groups)?;
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?;
        let x = x.broadcast_div(&deviation)?.reshape((n, c, h, w))?;
        let x = x.to_dtype(dtype)?.broadcast_mul(&self.weight)?;
        x.broadcast_add(&self.bias)
    }
}
