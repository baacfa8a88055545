//! Pools, with PyTorch's and timm's rules for borders: timm's [`layers/pool2d_same.py`] and
//! [`layers/adaptive_avgmax_pool.py`].
//!
//! [`layers/pool2d_same.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/pool2d_same.py
//! [`layers/adaptive_avgmax_pool.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/adaptive_avgmax_pool.py

use candle_core::{D, Result, Tensor};
use resnest_kernels::{GlobalPool, PoolSpec};

use super::nan::largest;
use crate::config::PoolType;
use crate::trace::Trace;

/// Where a max-pool of 3x3 begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaxPoolRule {
    /// `nn.MaxPool2d(3, stride, padding=1)`, the pool of the stem.
    Padded3x3 { stride: usize },
    /// `nn.MaxPool2d(3, stride=2, ceil_mode=True)`: no padding above and left, and a last window
    /// over the edge. The stem of the legacy SE networks.
    Ceil3x3,
}

/// A max-pool of a map that is nowhere negative, as it is after a ReLU.
#[derive(Clone, Debug)]
pub(crate) struct MaxPool2d {
    rule: MaxPoolRule,
    path: String,
    fused: bool,
}

impl MaxPool2d {
    /// A pool under timm's name for it.
    pub(crate) fn new(rule: MaxPoolRule, path: String) -> Self {
        Self {
            rule,
            path,
            fused: false,
        }
    }

    /// From now on a kernel pools: f32 on the CPU only.
    pub(crate) fn fuse(&mut self) {
        self.fused = true;
    }

    /// (N, C, H, W) → (N, C, ⌈H/stride⌉, ⌈W/stride⌉), a pixel less of an odd size for `Ceil3x3`.
    /// `x` must not be negative: PyTorch pads with -∞, candle's way here with zeros, which is the
    /// same there and only there.
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let y = match self.fused {
            true => self.rule.kernel().forward(x)?,
            false => self.rule.compute(x)?,
        };
        let operation = match self.rule {
            MaxPoolRule::Padded3x3 { stride: 1 } => "max pool 3x3",
            _ => "max pool 3x3 stride 2",
        };
        trace.step(&self.path, operation, &y);
        Ok(y)
    }
}

impl MaxPoolRule {
    fn kernel(self) -> PoolSpec {
        match self {
            MaxPoolRule::Padded3x3 { stride } => PoolSpec::max(3, stride, 1),
            MaxPoolRule::Ceil3x3 => PoolSpec {
                ceil: true,
                ..PoolSpec::max(3, 2, 0)
            },
        }
    }

    fn compute(self, x: &Tensor) -> Result<Tensor> {
        match self {
            MaxPoolRule::Padded3x3 { stride } => {
                largest(&zero_pad(x, 1, 1)?, |x| x.max_pool2d_with_stride(3, stride))
            }
            MaxPoolRule::Ceil3x3 => {
                let (_, _, h, w) = x.dims4()?;
                if h < 2 || w < 2 {
                    candle_core::bail!("a window of 3 does not fit a map of {h}x{w}");
                }
                // The last window covers two pixels of an even size.
                let x = x.pad_with_zeros(2, 0, 1 - h % 2)?;
                let x = x.pad_with_zeros(3, 0, 1 - w % 2)?;
                largest(&x, |x| x.max_pool2d_with_stride(3, 2))
            }
        }
    }
}

/// What an average pool does at the border; the pools of this family differ in nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AvgPoolRule {
    /// `nn.AvgPool2d(3, stride, padding=1)`: sizes round down, padding counts in the mean.
    /// Downsamples a ResNeSt block.
    Padded3x3 { stride: usize },
    /// `nn.AvgPool2d(2, stride=2, ceil_mode=True, count_include_pad=False)`: sizes round up, and a
    /// window over the edge is the mean of what it covers. Downsamples a shortcut.
    Ceil2x2,
    /// `nn.AvgPool2d(2)`: sizes round down. Stands for a stride where aliasing is avoided.
    Floor2x2,
    /// `AvgPool2dSame(2, stride=1)`: a row of zeros below and a column to the right keep the size,
    /// and they count in the mean. Stands in a dilated shortcut.
    Same2x2,
}

/// An average pool: (N, C, H, W) → (N, C, H', W').
#[derive(Clone, Debug)]
pub(crate) struct AvgPool2d {
    rule: AvgPoolRule,
    path: String,
    fused: bool,
}

impl AvgPool2d {
    /// A pool under timm's name for it.
    pub(crate) fn new(rule: AvgPoolRule, path: String) -> Self {
        Self {
            rule,
            path,
            fused: false,
        }
    }

    /// From now on a kernel pools: f32 on the CPU only.
    pub(crate) fn fuse(&mut self) {
        self.fused = true;
    }

    /// The same as the kernels describe it, for one that pools among other things.
    pub(crate) fn kernel(&self) -> PoolSpec {
        self.rule.kernel()
    }

    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let y = match self.fused {
            true => self.rule.kernel().forward(x)?,
            false => self.rule.compute(x)?,
        };
        let operation = match self.rule {
            AvgPoolRule::Padded3x3 { stride: 2 } => "avg pool 3x3 stride 2",
            AvgPoolRule::Padded3x3 { .. } => "avg pool 3x3",
            AvgPoolRule::Ceil2x2 | AvgPoolRule::Floor2x2 => "avg pool 2x2 stride 2",
            AvgPoolRule::Same2x2 => "avg pool 2x2 same",
        };
        trace.step(&self.path, operation, &y);
        Ok(y)
    }
}

impl AvgPoolRule {
    fn kernel(self) -> PoolSpec {
        match self {
            AvgPoolRule::Padded3x3 { stride } => PoolSpec::avg(3, stride, 1),
            AvgPoolRule::Ceil2x2 => PoolSpec::shortcut(2),
            AvgPoolRule::Floor2x2 => PoolSpec::avg(2, 2, 0),
            AvgPoolRule::Same2x2 => PoolSpec::avg_same(2),
        }
    }

    fn compute(self, x: &Tensor) -> Result<Tensor> {
        match self {
            AvgPoolRule::Padded3x3 { stride } => {
                zero_pad(x, 1, 1)?.avg_pool2d_with_stride(3, stride)
            }
            AvgPoolRule::Ceil2x2 => {
                // Counting the last row twice is not counting the row that is not there.
                let x = repeat_last_if_odd(&repeat_last_if_odd(x, 2)?, 3)?;
                x.avg_pool2d_with_stride(2, 2)
            }
            AvgPoolRule::Floor2x2 => {
                let (_, _, h, w) = x.dims4()?;
                if h < 2 || w < 2 {
                    candle_core::bail!("a window of 2 does not fit a map of {h}x{w}");
                }
                x.avg_pool2d_with_stride(2, 2)
            }
            AvgPoolRule::Same2x2 => zero_pad(x, 0, 1)?.avg_pool2d_with_stride(2, 1),
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
pub(crate) struct SelectAdaptivePool2d {
    pool_type: PoolType,
    fused: bool,
}

impl SelectAdaptivePool2d {
    /// A pool of the given type.
    pub(crate) fn new(pool_type: PoolType) -> Self {
        Self {
            pool_type,
            fused: false,
        }
    }

    /// From now on kernels pool: f32 on the CPU only.
    pub(crate) fn fuse(&mut self) {
        self.fused = true;
    }

    /// (N, C, H, W) → (N, C), (N, 2C) for `catavgmax`, unchanged for `none`.
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let mean = || match self.fused {
            true => GlobalPool::Avg.forward(x),
            false => mean_hw(x),
        };
        let max = || match self.fused {
            true => GlobalPool::Max.forward(x),
            false => max_hw(x),
        };
        let y = match self.pool_type {
            PoolType::None => return Ok(x.clone()),
            PoolType::Avg => mean()?,
            PoolType::Max => max()?,
            PoolType::AvgMax => ((mean()? + max()?)? * 0.5)?,
            PoolType::CatAvgMax => Tensor::cat(&[mean()?, max()?], 1)?,
        };
        trace.step("global_pool", &self.pool_type.to_string(), &y);
        Ok(y)
    }
}

/// The mean over height and width that a channel attention begins with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GlobalAvg {
    fused: bool,
}

impl GlobalAvg {
    /// From now on a kernel pools: f32 on the CPU only.
    pub(crate) fn fuse(&mut self) {
        self.fused = true;
    }

    /// (N, C, H, W) → (N, C), reported as a step of `path`.
    pub(crate) fn forward(&self, x: &Tensor, path: &str, trace: &mut Trace) -> Result<Tensor> {
        let mean = self.of(x)?;
        trace.step(path, "mean over H, W", &mean);
        Ok(mean)
    }

    /// The same, not reported.
    pub(crate) fn of(&self, x: &Tensor) -> Result<Tensor> {
        match self.fused {
            true => GlobalPool::Avg.forward(x),
            false => mean_hw(x),
        }
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
    largest(x, |x| x.flatten_from(2)?.max(D::Minus1))
}

/// `adaptive_avgmax_pool2d`: (N, C, H, W) → (N, C).
pub(crate) fn avgmax_hw(x: &Tensor) -> Result<Tensor> {
    (mean_hw(x)? + max_hw(x)?)? * 0.5
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// PyTorch's rules for pools, one output at a time over one channel.
    struct Naive {
        kernel: usize,
        stride: usize,
        padding: usize,
        /// Extra rows below and columns to the right.
        after: usize,
        ceil: bool,
        count_include_pad: bool,
    }

    impl Naive {
        fn out_size(&self, size: usize) -> usize {
            let room = size + 2 * self.padding + self.after - self.kernel;
            match self.ceil {
                true => room.div_ceil(self.stride) + 1,
                false => room / self.stride + 1,
            }
        }

        /// The inputs under a window, and how many positions of it count.
        fn window(&self, x: &[Vec<f32>], oy: usize, ox: usize) -> (Vec<f32>, usize) {
            let (h, w) = (x.len() as isize, x[0].len() as isize);
            let (mut inside, mut counted) = (Vec::new(), 0);
            for ky in 0..self.kernel {
                for kx in 0..self.kernel {
                    let y = (oy * self.stride + ky) as isize - self.padding as isize;
                    let x_ = (ox * self.stride + kx) as isize - self.padding as isize;
                    if (0..h).contains(&y) && (0..w).contains(&x_) {
                        inside.push(x[y as usize][x_ as usize]);
                        counted += 1;
                    } else if self.count_include_pad {
                        counted += 1;
                    }
                }
            }
            (inside, counted)
        }

        fn run(&self, x: &[Vec<f32>], reduce: impl Fn(&[f32], usize) -> f32) -> Vec<Vec<f32>> {
            let (h, w) = (self.out_size(x.len()), self.out_size(x[0].len()));
            let at = |y, x_| {
                let (inside, counted) = self.window(x, y, x_);
                reduce(&inside, counted)
            };
            (0..h)
                .map(|y| (0..w).map(|x_| at(y, x_)).collect())
                .collect()
        }
    }

    fn mean(inside: &[f32], counted: usize) -> f32 {
        inside.iter().sum::<f32>() / counted as f32
    }

    /// (2, 3, h, w), values in [0, 1) without any order.
    fn map(h: usize, w: usize) -> Tensor {
        let values = (0..6 * h * w).map(|i| ((i * 7919 + 13) % 997) as f32 / 997.0);
        Tensor::from_iter(values, &Device::Cpu)
            .and_then(|t| t.reshape((2, 3, h, w)))
            .unwrap()
    }

    fn channel(x: &Tensor, n: usize, c: usize) -> Vec<Vec<f32>> {
        x.get(n).unwrap().get(c).unwrap().to_vec2().unwrap()
    }

    fn assert_close(got: &Tensor, x: &Tensor, expected: impl Fn(&[Vec<f32>]) -> Vec<Vec<f32>>) {
        for (n, c) in [(0, 0), (1, 2)] {
            let (got, expected) = (channel(got, n, c), expected(&channel(x, n, c)));
            assert_eq!(got.len(), expected.len(), "{:?}", x.dims());
            for (got, expected) in got.iter().zip(&expected) {
                assert_eq!(got.len(), expected.len(), "{:?}", x.dims());
                for (got, expected) in got.iter().zip(expected) {
                    assert!((got - expected).abs() < 1e-6, "{got} is not {expected}");
                }
            }
        }
    }

    const SIZES: [(usize, usize); 8] = [
        (8, 8),
        (7, 7),
        (7, 10),
        (10, 7),
        (1, 1),
        (1, 6),
        (2, 3),
        (13, 5),
    ];

    #[test]
    fn average_pools_count_as_pytorch_does() {
        let naive = |kernel, stride, padding, after, ceil, count_include_pad| Naive {
            kernel,
            stride,
            padding,
            after,
            ceil,
            count_include_pad,
        };
        let cases = [
            (
                AvgPoolRule::Padded3x3 { stride: 1 },
                naive(3, 1, 1, 0, false, true),
            ),
            (
                AvgPoolRule::Padded3x3 { stride: 2 },
                naive(3, 2, 1, 0, false, true),
            ),
            (AvgPoolRule::Ceil2x2, naive(2, 2, 0, 0, true, false)),
            (AvgPoolRule::Floor2x2, naive(2, 2, 0, 0, false, true)),
            (AvgPoolRule::Same2x2, naive(2, 1, 0, 1, false, true)),
        ];
        for (h, w) in SIZES {
            for (rule, naive) in &cases {
                // A side shorter than the window takes one window over the edge, for which `out_size` has no
                // negative number.
                if naive.kernel == 2 && naive.after == 0 && (h < 2 || w < 2) {
                    assert!(naive.ceil || rule.compute(&map(h, w)).is_err());
                    continue;
                }
                let x = map(h, w);
                let got = rule.compute(&x).unwrap();
                assert_close(&got, &x, |x| naive.run(x, mean));
            }
        }
        let single = AvgPoolRule::Ceil2x2.compute(&map(1, 1)).unwrap();
        assert_eq!(channel(&single, 0, 0), channel(&map(1, 1), 0, 0));
    }

    #[test]
    fn the_stems_pool_is_the_maximum_of_what_is_there() {
        let naive = Naive {
            kernel: 3,
            stride: 2,
            padding: 1,
            after: 0,
            ceil: false,
            count_include_pad: false,
        };
        for (h, w) in SIZES {
            let x = map(h, w);
            let pool = MaxPool2d::new(MaxPoolRule::Padded3x3 { stride: 2 }, String::new());
            let got = pool.forward(&x, &mut Trace::off()).unwrap();
            let largest = |inside: &[f32], _| inside.iter().copied().fold(f32::MIN, f32::max);
            assert_close(&got, &x, |x| naive.run(x, largest));
        }
    }

    #[test]
    fn the_legacy_stems_pool_has_a_last_window_over_the_edge() {
        let naive = Naive {
            kernel: 3,
            stride: 2,
            padding: 0,
            after: 0,
            ceil: true,
            count_include_pad: false,
        };
        for (h, w) in SIZES.into_iter().chain([(56, 57), (3, 4)]) {
            let x = map(h, w);
            let pool = MaxPool2d::new(MaxPoolRule::Ceil3x3, String::new());
            let got = pool.forward(&x, &mut Trace::off());
            if h < 3 || w < 3 {
                assert!(got.is_err() || h > 1 && w > 1);
                continue;
            }
            let largest = |inside: &[f32], _| inside.iter().copied().fold(f32::MIN, f32::max);
            assert_close(&got.unwrap(), &x, |x| naive.run(x, largest));
        }
    }

    #[test]
    fn global_pools_are_sums_and_maxima_over_a_channel() {
        let x = map(5, 7);
        let pool = |pool_type| {
            let pool = SelectAdaptivePool2d::new(pool_type);
            let y = pool.forward(&x, &mut Trace::off()).unwrap();
            y.to_vec2::<f32>().unwrap()
        };
        let channel = channel(&x, 1, 2).concat();
        let avg = channel.iter().sum::<f32>() / 35.0;
        let max = channel.iter().copied().fold(f32::MIN, f32::max);
        let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        close(pool(PoolType::Avg)[1][2], avg);
        close(pool(PoolType::Max)[1][2], max);
        close(pool(PoolType::AvgMax)[1][2], (avg + max) / 2.0);
        close(pool(PoolType::CatAvgMax)[1][2], avg);
        close(pool(PoolType::CatAvgMax)[1][5], max);
    }
}
