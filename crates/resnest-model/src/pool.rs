//! Pools, with PyTorch's and timm's rules for borders (`timm/layers/pool2d_same.py`, `adaptive_avgmax_pool.py`).

use candle_core::{D, Result, Tensor};

use crate::config::PoolType;
use crate::trace::Trace;

/// `nn.MaxPool2d(3, stride=2, padding=1)`, the pool of the stem.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2d;

impl MaxPool2d {
    /// (N, C, H, W) → (N, C, ⌈H/2⌉, ⌈W/2⌉). `x` must not be negative, as it is after a ReLU: PyTorch pads with -∞,
    /// this with zeros, which is the same there and only there.
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let y = zero_pad(x, 1, 1)?.max_pool2d_with_stride(3, 2)?;
        trace.step("maxpool", "max pool 3x3 stride 2", &y);
        Ok(y)
    }
}

/// The average pools of this family; they differ in what they do at the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvgPool2d {
    /// `nn.AvgPool2d(3, stride, padding=1)`: sizes round down, padding counts in the mean. Downsamples a ResNeSt block.
    Padded3x3 {
        /// Step in both directions.
        stride: usize,
    },
    /// `nn.AvgPool2d(2, stride=2, ceil_mode=True, count_include_pad=False)`: sizes round up, and a window over the edge
    /// is the mean of what it covers. Downsamples a shortcut.
    Ceil2x2,
    /// `AvgPool2dSame(2, stride=1)`: one row of zeros below and one column to the right keep the size, and they count in
    /// the mean. Stands in a dilated shortcut.
    Same2x2,
}

impl AvgPool2d {
    /// (N, C, H, W) → (N, C, H', W').
    pub(crate) fn forward(&self, path: &str, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let y = self.compute(x)?;
        let operation = match self {
            AvgPool2d::Padded3x3 { stride: 2 } => "avg pool 3x3 stride 2",
            AvgPool2d::Padded3x3 { .. } => "avg pool 3x3",
            AvgPool2d::Ceil2x2 => "avg pool 2x2 stride 2",
            AvgPool2d::Same2x2 => "avg pool 2x2 same",
        };
        trace.step(path, operation, &y);
        Ok(y)
    }

    fn compute(&self, x: &Tensor) -> Result<Tensor> {
        match *self {
            AvgPool2d::Padded3x3 { stride } => zero_pad(x, 1, 1)?.avg_pool2d_with_stride(3, stride),
            AvgPool2d::Ceil2x2 => {
                // Counting the last row twice is not counting the row that is not there.
                let x = repeat_last_if_odd(&repeat_last_if_odd(x, 2)?, 3)?;
                x.avg_pool2d_with_stride(2, 2)
            }
            AvgPool2d::Same2x2 => zero_pad(x, 0, 1)?.avg_pool2d_with_stride(2, 1),
        }
    }
}

fn zero_pad(x: &Tensor, before: usize, after: usize) -> Result<Tensor> {
    x.pad_with_zeros(3, before, after)?
        .pad_with_zeros(2, before, after)
}

fn repeat_last_if_odd(x: &Tensor, dim: usize) -> Result<Tensor> {
    let size = x.dim(dim)?;
    if size % 2 == 0 {
        return Ok(x.clone());
    }
    Tensor::cat(&[x, &x.narrow(dim, size - 1, 1)?], dim)
}

/// `SelectAdaptivePool2d`: the pool before the classifier, and the flattening after it.
#[derive(Clone, Copy, Debug)]
pub struct SelectAdaptivePool2d {
    pool_type: PoolType,
}

impl SelectAdaptivePool2d {
    /// A pool of the given type.
    pub fn new(pool_type: PoolType) -> Self {
        Self { pool_type }
    }

    /// (N, C, H, W) → (N, C), (N, 2C) for `catavgmax`, unchanged for `none`.
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let y = match self.pool_type {
            PoolType::None => return Ok(x.clone()),
            PoolType::Avg => mean_hw(x)?,
            PoolType::Max => max_hw(x)?,
            PoolType::AvgMax => avgmax_hw(x)?,
            PoolType::CatAvgMax => Tensor::cat(&[mean_hw(x)?, max_hw(x)?], 1)?,
        };
        trace.step("global_pool", &self.pool_type.to_string(), &y);
        Ok(y)
    }
}

/// (N, C, H, W) → (N, C): mean over height and width.
pub(crate) fn mean_hw(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.mean(D::Minus1)
}

fn max_hw(x: &Tensor) -> Result<Tensor> {
    if x.dim(0)? == 0 {
        return mean_hw(x); // candle takes no maximum over an empty batch
    }
    x.flatten_from(2)?.max(D::Minus1)
}

/// `adaptive_avgmax_pool2d`: (N, C, H, W) → (N, C).
pub(crate) fn avgmax_hw(x: &Tensor) -> Result<Tensor> {
    (mean_hw(x)? + max_hw(x)?)? * 0.5
}
