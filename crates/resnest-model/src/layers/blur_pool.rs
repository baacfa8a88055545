//! Anti-aliased downsampling: a blur, or an average pool, in the place of a stride.
//!
//! Zhang, *Making Convolutional Networks Shift-Invariant Again*, [arXiv:1904.11486]; timm's [`layers/blur_pool.py`].
//!
//! [arXiv:1904.11486]: https://arxiv.org/abs/1904.11486
//! [`layers/blur_pool.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/blur_pool.py

use std::sync::Arc;

use candle_core::{Result, Tensor};
use resnest_kernels::{ConvSpec, PackedConv};

use super::pool::{AvgPool2d, AvgPoolRule};
use crate::config::AaLayer;
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::trace::Trace;

/// What stands in the place of a stride.
#[derive(Clone, Debug)]
pub(crate) enum Aa {
    Avg(AvgPool2d),
    Blur(BlurPool2d),
}

/// `create_aa`: nothing where nothing is asked for, or where an average pool would have a window of
/// one pixel. `chans` are those of the map, `stride` 1 or 2.
pub(crate) fn create_aa(
    layer: Option<AaLayer>,
    chans: usize,
    stride: usize,
    path: String,
) -> Option<Aa> {
    match layer? {
        AaLayer::AvgPool if stride == 1 => None,
        AaLayer::AvgPool => Some(Aa::Avg(AvgPool2d::new(AvgPoolRule::Floor2x2, path))),
        AaLayer::BlurPool => Some(Aa::Blur(BlurPool2d::new(chans, stride, path))),
    }
}

impl Aa {
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        match self {
            Aa::Avg(pool) => pool.forward(x, trace),
            Aa::Blur(blur) => blur.forward(x, trace),
        }
    }

    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        match self {
            Aa::Avg(pool) => {
                pool.fuse();
                Ok(())
            }
            Aa::Blur(blur) => blur.fuse(fuser),
        }
    }
}

/// `BlurPool2d`: every channel convolved with [1 2 1]ᵀ[1 2 1] / 16, borders reflected. The filter is
/// not in the checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct BlurPool2d {
    chans: usize,
    stride: usize,
    path: String,
    kernel: Option<Arc<PackedConv>>,
}

/// The binomial filter; its square sums to 1.
const FILTER: [f32; 3] = [0.25, 0.5, 0.25];

impl BlurPool2d {
    pub(crate) fn new(chans: usize, stride: usize, path: String) -> Self {
        Self {
            chans,
            stride,
            path,
            kernel: None,
        }
    }

    /// (N, C, H, W) → (N, C, ⌈H / stride⌉, ⌈W / stride⌉), no side less than 2.
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let padded = reflect_pad(x)?;
        let y = match &self.kernel {
            Some(kernel) => kernel.forward(&padded, None, false)?,
            None => blur(&blur(&padded, 2, self.stride)?, 3, self.stride)?,
        };
        let operation = match self.stride {
            1 => "blur 3x3",
            _ => "blur 3x3 stride 2",
        };
        trace.step(&self.path, operation, &y);
        Ok(y)
    }

    /// Packs the filter as a depthwise convolution.
    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        let spec = ConvSpec::new(self.chans, self.chans, 3)
            .stride(self.stride)
            .padding(0)
            .groups(self.chans);
        let square = FILTER.iter().flat_map(|a| FILTER.map(|b| a * b));
        let weight: Vec<f32> = square.cycle().take(self.chans * 9).collect();
        let kernel = fuser.pack_constant(&self.path, spec, &weight)?;
        self.kernel = Some(Arc::new(kernel));
        Ok(())
    }
}

/// One pixel more on each side of height and width, mirrored about the border pixel.
fn reflect_pad(x: &Tensor) -> Result<Tensor> {
    // Channels last, as the kernels lay maps out: then whole pixels are copied.
    let x = x.permute((0, 2, 3, 1))?;
    let along = |x: Tensor, dim: usize| {
        let size = x.dim(dim)?;
        if size < 2 {
            candle_core::bail!(
                "a blur mirrors its border and needs maps of at least 2x2; this image is too small"
            );
        }
        let (first, last) = (x.narrow(dim, 1, 1)?, x.narrow(dim, size - 2, 1)?);
        Tensor::cat(&[first, x, last], dim)
    };
    along(along(x, 1)?, 2)?.permute((0, 3, 1, 2))
}

/// The filter along one axis, without padding.
fn blur(x: &Tensor, dim: usize, stride: usize) -> Result<Tensor> {
    let out = (x.dim(dim)? - 3) / stride + 1;
    let mut sum: Option<Tensor> = None;
    for (tap, weight) in FILTER.into_iter().enumerate() {
        let ids = (0..out).map(|o| (o * stride + tap) as u32);
        let ids = Tensor::from_iter(ids, x.device())?;
        let term = (x.contiguous()?.index_select(&ids, dim)? * f64::from(weight))?;
        sum = Some(match sum {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    sum.ok_or_else(|| candle_core::Error::msg("an empty filter"))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// torch's `F.conv2d` on a reflected map, one output at a time.
    fn naive(x: &[Vec<f32>], stride: usize) -> Vec<Vec<f32>> {
        let mirrored = |i: isize, size: usize| {
            let last = size as isize - 1;
            (if i < 0 {
                -i
            } else if i > last {
                2 * last - i
            } else {
                i
            }) as usize
        };
        let (h, w) = (x.len(), x[0].len());
        let at = |oy: usize, ox: usize| {
            let mut sum = 0.0;
            for (ky, a) in FILTER.iter().enumerate() {
                for (kx, b) in FILTER.iter().enumerate() {
                    let y = mirrored((oy * stride + ky) as isize - 1, h);
                    let x_ = mirrored((ox * stride + kx) as isize - 1, w);
                    sum += a * b * x[y][x_];
                }
            }
            sum
        };
        let out = |size: usize| (size - 1) / stride + 1;
        (0..out(h))
            .map(|y| (0..out(w)).map(|x| at(y, x)).collect())
            .collect()
    }

    #[test]
    fn a_blur_mirrors_its_border() {
        for (h, w, stride) in [(7, 6, 2), (2, 3, 2), (5, 2, 1), (8, 9, 2)] {
            let x: Vec<f32> = (0..2 * h * w)
                .map(|i| ((i * 7919 + 13) % 97) as f32)
                .collect();
            let x = Tensor::from_vec(x, (1, 2, h, w), &Device::Cpu).unwrap();
            let y = BlurPool2d::new(2, stride, String::new());
            let y = y.forward(&x, &mut Trace::off()).unwrap();
            for c in 0..2 {
                let channel = |t: &Tensor| t.get(0).unwrap().get(c).unwrap().to_vec2().unwrap();
                assert_eq!(channel(&y), naive(&channel(&x), stride), "{h}x{w} {stride}");
            }
        }
    }

    #[test]
    fn a_map_without_neighbours_is_refused() {
        let x = Tensor::zeros((1, 1, 1, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let blur = BlurPool2d::new(1, 2, String::new());
        let error = blur.forward(&x, &mut Trace::off()).unwrap_err();
        assert!(error.to_string().contains("at least 2x2"), "{error}");
    }
}
