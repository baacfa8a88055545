//! Pools over windows and over whole images, with PyTorch's counting rules.

use crate::arch::Isa;
use crate::arch::rows::Reduce;
use crate::arch::window::{Window, columns};
use crate::buffer::{LINE, with_scratch};
use crate::error::{Error, check_len};
use crate::map::Map;
use crate::shape::Nhwc;
use crate::share::SharedMut;
use crate::threads::parallel_for;

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
    let output = spec.output(input)?;
    check_len("input", x.len(), input.len())?;
    // SAFETY: `pool_between` writes every pixel of every row.
    unsafe {
        Map::written_by(output.len(), |out| {
            pool_between(isa, (x, input.c), input, (out, output.c), spec)
        })
    }
}

/// Pools maps whose pixels lie as far apart as told.
///
/// # Errors
/// When the specification does not fit.
pub(crate) fn pool_between(
    isa: Isa,
    (x, x_pixel): (&[f32], usize),
    input: Nhwc,
    (out, out_pixel): (&SharedMut, usize),
    spec: PoolSpec,
) -> Result<(), Error> {
    let output = spec.output(input)?;
    let rows = output.n * output.h;
    let tasks = rows.min(16);
    let work = output.len() * spec.kernel * spec.kernel;
    parallel_for(if output.is_empty() { 0 } else { tasks }, work, &|task| {
        let mut window = Window::default();
        for row in crate::conv::share_of(rows, 1, task, tasks) {
            let (image, oy) = (row / output.h, row % output.h);
            let (ys, tall) = spec.span(oy, input.h);
            for ox in 0..output.w {
                let at = (row * output.w + ox) * out_pixel;
                let (xs, wide) = spec.span(ox, input.w);
                window.clear();
                for y in ys.clone() {
                    for x in xs.clone() {
                        window.push(((image * input.h + y) * input.w + x) * x_pixel, 0);
                    }
                }
                let (kind, divisor) = match spec.kind {
                    PoolKind::Max => (Reduce::Max, 1),
                    PoolKind::AvgCounted => (Reduce::Sum, tall * wide),
                    PoolKind::Avg => (Reduce::Sum, window.len().max(1)),
                };
                let scale = 1.0 / divisor as f32;
                // SAFETY: each row belongs to one task.
                unsafe { window.reduce(isa, kind, x, (out, at, output.c), scale) };
            }
        }
    });
    Ok(())
}

/// What a global pool takes of each channel of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GlobalPool {
    /// The mean.
    Avg,
    /// The largest value.
    Max,
}

/// Channels of a task of a global pool.
const CHANNELS: usize = 128;
/// Longest run of pixels summed in one go.
const RUN: usize = 64;

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
    let mut out = vec![0.0; input.n * input.c];
    let shared = SharedMut::new(&mut out);
    let parts = input.c.div_ceil(CHANNELS);
    let tasks = if input.is_empty() { 0 } else { input.n * parts };
    parallel_for(tasks, input.len(), &|task| {
        let image = task / parts;
        let share = crate::conv::share_of(input.c, LINE, task % parts, parts);
        // SAFETY: these channels of the image are this task's.
        let out = unsafe { shared.slice(image * input.c + share.start, share.len()) };
        let start = image * pixels * input.c + share.start;
        let x = &x[start..(image + 1) * pixels * input.c - (input.c - share.end)];
        match kind {
            GlobalPool::Max => {
                out.fill(f32::NEG_INFINITY);
                columns(isa, true, x, input.c, out);
            }
            GlobalPool::Avg => with_scratch(out.len(), |run| {
                for rows in x.chunks(RUN * input.c) {
                    run.fill(0.0);
                    columns(isa, false, rows, input.c, run);
                    out.iter_mut()
                        .zip(&*run)
                        .for_each(|(sum, value)| *sum += value);
                }
                out.iter_mut().for_each(|sum| *sum /= pixels as f32);
            }),
        }
    });
    Ok(out)
}
