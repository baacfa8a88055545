//! Pools over windows and over whole images, with PyTorch's counting rules.

use crate::arch::Isa;
use crate::arch::checked::rows::{Reduce, Window, columns};
use crate::error::{Error, check_len};
use crate::memory::buffer::with_scratch;
use crate::memory::map::Map;
use crate::memory::rows::{RowLayout, Rows, for_each_share};
use crate::memory::share::SharedMut;
use crate::partition::share_of;
use crate::shape::Nhwc;
use crate::threads::parallel::map_tasks;
use crate::tuning::{GLOBAL_POOL_CHANNELS, GLOBAL_POOL_RUN, LINE};

/// What a pool takes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest value.
    Max,
    /// The mean; zeros of the padding count.
    AvgCounted,
    /// The mean of the pixels inside the image.
    Avg,
}

/// A square pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolSpec {
    /// What it computes.
    pub kind: PoolKind,
    /// Side of the window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Padding above and left; below and right.
    pub padding: [usize; 2],
    /// Whether a last, partial window counts.
    pub ceil: bool,
}

impl PoolSpec {
    /// `MaxPool2d(kernel, stride, padding)`.
    pub fn max(kernel: usize, stride: usize, padding: usize) -> Self {
        PoolSpec {
            kind: PoolKind::Max,
            kernel,
            stride,
            padding: [padding; 2],
            ceil: false,
        }
    }

    /// `AvgPool2d(kernel, stride, padding)`, padding counted: timm's avd pool is `(3, 2, 1)`.
    pub fn avg(kernel: usize, stride: usize, padding: usize) -> Self {
        PoolSpec {
            kind: PoolKind::AvgCounted,
            ..Self::max(kernel, stride, padding)
        }
    }

    /// `AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)`: timm's shortcut pool.
    pub fn shortcut(stride: usize) -> Self {
        PoolSpec {
            kind: PoolKind::Avg,
            ceil: true,
            ..Self::max(2, stride, 0)
        }
    }

    /// timm's `AvgPool2dSame` at stride 1: zeros right and below, counted.
    pub fn avg_same(kernel: usize) -> Self {
        let total = kernel.saturating_sub(1);
        PoolSpec {
            padding: [total / 2, total - total / 2],
            ..Self::avg(kernel, 1, 0)
        }
    }

    /// The output's shape.
    ///
    /// # Errors
    /// When kernel or stride is 0, a window is larger than the padded image, or the padding
    /// reaches a whole window (which would then hold no pixel).
    pub fn output(&self, input: Nhwc) -> Result<Nhwc, Error> {
        if self.kernel == 0 || self.stride == 0 {
            return Err(Error::spec("pool", "kernel and stride must be at least 1"));
        }
        if self.padding.iter().any(|&p| p >= self.kernel) {
            return Err(Error::spec(
                "pool",
                "the padding must be less than the kernel",
            ));
        }
        Ok(Nhwc {
            h: self.output_side(input.h)?,
            w: self.output_side(input.w)?,
            ..input
        })
    }

    fn output_side(&self, side: usize) -> Result<usize, Error> {
        let [before, after] = self.padding;
        let padded = side + before + after;
        // The last window may start `slack` pixels later than it would fit; PyTorch so lets a
        // window of 2 have one pixel of a side of 1.
        let slack = if self.ceil { self.stride - 1 } else { 0 };
        let room = (padded + slack).checked_sub(self.kernel).ok_or_else(|| {
            let problem = format!("a window of {} does not fit a side of {side}", self.kernel);
            Error::spec("pool", problem)
        })?;
        let windows = room / self.stride + 1;
        // PyTorch drops a last window that would start beyond the image.
        let beyond = self.ceil && (windows - 1) * self.stride >= side + before;
        Ok(if beyond { windows - 1 } else { windows })
    }

    /// Along one axis: the pixels of window `o` inside the image, and how many count.
    fn span(&self, o: usize, side: usize) -> (std::ops::Range<usize>, usize) {
        let [before, after] = self.padding;
        let start = o * self.stride;
        let end = (start + self.kernel).min(side + before + after);
        let inside = start.max(before) - before..(end.max(before) - before).min(side);
        (inside, end - start)
    }
}

/// Pools `x`.
///
/// # Errors
/// When the specification or the length of `x` does not fit.
pub fn pool2d(isa: Isa, x: &[f32], input: Nhwc, spec: PoolSpec) -> Result<Map, Error> {
    check_len("input", x.len(), input.len())?;
    let pool = Pooling::new(isa, (x, input.c), input, spec)?;
    let layout = pool.layout(input.c);
    let rows = |rows: Rows| pool.write(rows);
    Ok(Map::from_rows(layout, pool.tasks(), pool.work(), rows))
}

/// Pools maps in which one pixel begins as many values after the other as given.
///
/// # Errors
/// When the specification does not fit.
pub(crate) fn pool_between(
    isa: Isa,
    x: (&[f32], usize),
    input: Nhwc,
    (out, out_pixel): (&mut SharedMut, usize),
    spec: PoolSpec,
) -> Result<(), Error> {
    let pool = Pooling::new(isa, x, input, spec)?;
    let (layout, work) = (pool.layout(out_pixel), pool.work());
    for_each_share(out, layout, pool.tasks(), work, |rows| pool.write(rows));
    Ok(())
}

/// One application of a pool.
struct Pooling<'a> {
    isa: Isa,
    x: &'a [f32],
    x_pixel: usize,
    input: Nhwc,
    output: Nhwc,
    spec: PoolSpec,
}

impl<'a> Pooling<'a> {
    fn new(
        isa: Isa,
        (x, x_pixel): (&'a [f32], usize),
        input: Nhwc,
        spec: PoolSpec,
    ) -> Result<Self, Error> {
        Ok(Pooling {
            isa,
            x,
            x_pixel,
            input,
            output: spec.output(input)?,
            spec,
        })
    }

    /// The output's pixels, shared out by rows of the image.
    fn layout(&self, out_pixel: usize) -> RowLayout {
        RowLayout {
            count: self.output.pixels(),
            len: self.output.c,
            step: out_pixel,
            unit: self.output.w,
        }
    }

    fn tasks(&self) -> usize {
        (self.output.n * self.output.h).min(16)
    }

    fn work(&self) -> usize {
        self.output.len() * self.spec.kernel * self.spec.kernel
    }

    /// Writes some pixels.
    fn write(&self, pixels: Rows) {
        let (spec, input, output) = (self.spec, self.input, self.output);
        let mut window = Window::default();
        for (pixel, out) in pixels {
            let (row, ox) = (pixel / output.w, pixel % output.w);
            let (image, oy) = (row / output.h, row % output.h);
            let (ys, tall) = spec.span(oy, input.h);
            let (xs, wide) = spec.span(ox, input.w);
            window.clear();
            for y in ys {
                for x in xs.clone() {
                    window.push(((image * input.h + y) * input.w + x) * self.x_pixel, 0);
                }
            }
            let (kind, divisor) = match spec.kind {
                PoolKind::Max => (Reduce::Max, 1),
                PoolKind::AvgCounted => (Reduce::Sum, tall * wide),
                PoolKind::Avg => (Reduce::Sum, window.len().max(1)),
            };
            window.reduce(self.isa, kind, self.x, out, 1.0 / divisor as f32);
        }
    }
}

/// What a global pool takes of each channel of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GlobalPool {
    /// The mean.
    Avg,
    /// The largest value.
    Max,
}

/// Pools each channel of each image: `[n][c]`.
///
/// # Errors
/// When `x` is not of the given shape, or its images have no pixel.
pub fn global_pool(isa: Isa, x: &[f32], input: Nhwc, kind: GlobalPool) -> Result<Vec<f32>, Error> {
    check_len("input", x.len(), input.len())?;
    let pixels = input.h * input.w;
    if pixels == 0 {
        return Err(Error::spec("global pool", "the image has no pixel"));
    }
    let parts = input.c.div_ceil(GLOBAL_POOL_CHANNELS);
    let tasks = if input.is_empty() { 0 } else { input.n * parts };
    let made = map_tasks(tasks, input.len(), |task| {
        let image = task / parts;
        let share = share_of(input.c, LINE, task % parts, parts);
        let mut out = vec![0.0; share.len()];
        let start = image * pixels * input.c + share.start;
        let x = &x[start..(image + 1) * pixels * input.c - (input.c - share.end)];
        match kind {
            GlobalPool::Max => {
                out.fill(f32::NEG_INFINITY);
                columns(isa, true, x, input.c, &mut out);
            }
            GlobalPool::Avg => with_scratch(out.len(), |run| {
                for rows in x.chunks(GLOBAL_POOL_RUN * input.c) {
                    run.fill(0.0);
                    columns(isa, false, rows, input.c, run);
                    out.iter_mut()
                        .zip(&*run)
                        .for_each(|(sum, value)| *sum += value);
                }
                out.iter_mut().for_each(|sum| *sum /= pixels as f32);
            }),
        }
        out
    });
    Ok(made.concat())
}
