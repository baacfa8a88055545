//! Resampling as Pillow does it, for a window of the output only.
//!
//! Weights are those of the whole image; only the passes are limited to what the window needs.

#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "AVX2 intrinsics; the portable loops beside it are the specification"
)]
mod avx2;
mod filter;
mod portable;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(crate) use filter::TapTable;

use crate::memory::{filled, reserved};
use crate::{Interpolation, PassOrder, Result};

/// Which implementation of the passes runs; all give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kernel {
    /// The fastest that this CPU runs.
    #[default]
    Auto,
    /// The plain loops, on any CPU.
    Portable,
}

/// A part of an image: `width` x `height` pixels whose top left is (`x`, `y`) of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    pub fn columns(&self) -> Range<u32> {
        self.x..self.x + self.width
    }

    pub fn rows(&self) -> Range<u32> {
        self.y..self.y + self.height
    }

    fn contains(&self, other: &Rect) -> bool {
        let (a, b) = (self, other);
        a.x <= b.x
            && a.y <= b.y
            && a.columns().end >= b.columns().end
            && a.rows().end >= b.rows().end
    }
}

/// A resize of the whole image of which a window is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Per output column of the window; `None` when the width does not change.
    columns: Option<TapTable>,
    /// Per output row of the window; `None` when the height does not change.
    rows: Option<TapTable>,
    vertical_first: bool,
    window: Rect,
    /// The part of the source that the window depends on.
    pub source: Rect,
}

impl Plan {
    /// `input` and `output` are (width, height) of the whole images; `window` lies in the output.
    pub fn new(
        filter: Interpolation,
        order: PassOrder,
        input: (u32, u32),
        output: (u32, u32),
        window: Rect,
    ) -> Self {
        let axis = |from: u32, to: u32, range: Range<u32>| {
            (from != to).then(|| filter::taps(filter, from, to, range))
        };
        let columns = axis(input.0, output.0, window.columns());
        let rows = axis(input.1, output.1, window.rows());
        let (x, width) = reach(columns.as_ref(), window.columns());
        let (y, height) = reach(rows.as_ref(), window.rows());
        let vertical_first = vertical_first(order, input, output);
        Self {
            columns,
            rows,
            vertical_first,
            window,
            source: Rect {
                x,
                y,
                width,
                height,
            },
        }
    }

    /// Computes the window, `height * width * channels` bytes.
    ///
    /// `data` holds the pixels of `area`, which must contain [`Plan::source`].
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn run(&self, data: &[u8], area: Rect, channels: usize, kernel: Kernel) -> Result<Vec<u8>> {
        assert!(
            area.contains(&self.source),
            "{area:?} lacks {:?}",
            self.source
        );
        let passes = Passes::new(channels, kernel);
        let (source, window) = (self.source, self.window);
        let image = Strip { data, area };
        match (&self.columns, &self.rows) {
            (None, None) => image.cut(window, channels),
            (Some(columns), None) => passes.horizontal(&image, columns, window.rows()),
            (None, Some(rows)) => passes.vertical(&image, rows, window.columns()),
            (Some(columns), Some(rows)) if self.vertical_first => {
                let data = passes.vertical(&image, rows, source.columns())?;
                let area = Rect {
                    x: source.x,
                    width: source.width,
                    ..window
                };
                passes.horizontal(&Strip { data: &data, area }, columns, window.rows())
            }
            (Some(columns), Some(rows)) => {
                let data = passes.horizontal(&image, columns, source.rows())?;
                let area = Rect {
                    y: source.y,
                    height: source.height,
                    ..window
                };
                passes.vertical(&Strip { data: &data, area }, rows, window.columns())
            }
        }
    }
}

/// Pixels and where they lie, in the coordinates that the next pass's taps use.
struct Strip<'a> {
    data: &'a [u8],
    area: Rect,
}

impl Strip<'_> {
    fn stride(&self, channels: usize) -> usize {
        self.area.width as usize * channels
    }

    /// The data from row `y` on.
    fn rows_from(&self, y: u32, channels: usize) -> &[u8] {
        &self.data[(y - self.area.y) as usize * self.stride(channels)..]
    }

    fn cut(&self, window: Rect, channels: usize) -> Result<Vec<u8>> {
        let offset = (window.x - self.area.x) as usize * channels;
        let len = window.width as usize * channels;
        let rows = self
            .rows_from(window.y, channels)
            .chunks_exact(self.stride(channels));
        let mut out = reserved(len * window.height as usize)?;
        for row in rows.take(window.height as usize) {
            out.extend_from_slice(&row[offset..offset + len]);
        }
        Ok(out)
    }
}

/// The two passes, by the best kernel allowed.
struct Passes {
    channels: usize,
    #[cfg(target_arch = "x86_64")]
    avx2: Option<avx2::Avx2>,
}

impl Passes {
    fn new(channels: usize, kernel: Kernel) -> Self {
        let _ = kernel;
        Self {
            channels,
            #[cfg(target_arch = "x86_64")]
            avx2: if kernel == Kernel::Auto {
                avx2::Avx2::new()
            } else {
                None
            },
        }
    }

    /// Resamples each of `rows` (source coordinates) to `taps.len()` pixels.
    fn horizontal(&self, image: &Strip, taps: &TapTable, rows: Range<u32>) -> Result<Vec<u8>> {
        let channels = self.channels;
        let stride = image.stride(channels);
        let source = image.rows_from(rows.start, channels);
        let out_stride = taps.len() * channels;
        let mut out = filled(rows.len() * out_stride, 0)?;
        let origin = image.area.x as usize;
        let done = self.horizontal_simd(source, stride, origin, taps, &mut out);
        let rows = source
            .chunks_exact(stride)
            .zip(out.chunks_exact_mut(out_stride));
        for (row, out) in rows.skip(done) {
            portable::horizontal(row, channels, origin, taps, out);
        }
        Ok(out)
    }

    /// Resamples the columns of `columns` (source coordinates) to `taps.len()` rows.
    fn vertical(&self, image: &Strip, taps: &TapTable, columns: Range<u32>) -> Result<Vec<u8>> {
        let channels = self.channels;
        let stride = image.stride(channels);
        let offset = (columns.start - image.area.x) as usize * channels;
        let out_stride = columns.len() * channels;
        let mut out = filled(taps.len() * out_stride, 0)?;
        for (taps, out) in taps.iter().zip(out.chunks_exact_mut(out_stride)) {
            let first = taps.first.saturating_sub(image.area.y as usize);
            let source = image
                .data
                .get(first * stride + offset..)
                .unwrap_or_default();
            let done = self.vertical_simd(source, stride, taps.weights, out);
            let rest = source.get(done..).unwrap_or_default();
            portable::vertical(rest, stride, taps.weights, &mut out[done..]);
        }
        Ok(out)
    }

    /// Rows done; the rest is left to the portable pass.
    #[cfg(target_arch = "x86_64")]
    fn horizontal_simd(
        &self,
        source: &[u8],
        stride: usize,
        origin: usize,
        taps: &TapTable,
        out: &mut [u8],
    ) -> usize {
        match &self.avx2 {
            Some(avx2) if self.channels == 3 => {
                avx2.horizontal_rgb(source, stride, origin, taps, out)
            }
            Some(avx2) => avx2.horizontal_luma(source, stride, origin, taps, out),
            None => 0,
        }
    }

    /// Bytes of the row done; the rest is left to the portable pass.
    #[cfg(target_arch = "x86_64")]
    fn vertical_simd(
        &self,
        source: &[u8],
        stride: usize,
        weights: &[i32],
        out: &mut [u8],
    ) -> usize {
        self.avx2
            .as_ref()
            .map_or(0, |avx2| avx2.vertical(source, stride, weights, out))
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn horizontal_simd(&self, _: &[u8], _: usize, _: usize, _: &TapTable, _: &mut [u8]) -> usize {
        0
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn vertical_simd(&self, _: &[u8], _: usize, _: &[i32], _: &mut [u8]) -> usize {
        0
    }
}

/// Whether the vertical pass comes first, where both are needed.
fn vertical_first(order: PassOrder, input: (u32, u32), output: (u32, u32)) -> bool {
    let lost = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (lost_width, lost_height) = (lost(input.0, output.0), lost(input.1, output.1));
    lost_height > 0
        && match order {
            PassOrder::Pillow13 => lost_height > 2 * lost_width,
            PassOrder::Pillow12 => i64::from(input.1) > 100 * i64::from(input.0),
        }
}

/// First source position and count that a window along one axis depends on.
fn reach(taps: Option<&TapTable>, window: Range<u32>) -> (u32, u32) {
    let Some(taps) = taps else {
        return (window.start, window.end - window.start);
    };
    let used = || taps.iter().filter(|t| !t.weights.is_empty());
    let first = used().map(|t| t.first).min().unwrap_or(0);
    let end = used().map(|t| t.first + t.weights.len()).max().unwrap_or(1);
    (first as u32, (end - first) as u32)
}
