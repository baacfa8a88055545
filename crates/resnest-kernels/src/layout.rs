//! Into and out of channels-last memory.

use crate::error::Error;
use crate::memory::map::Map;
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use crate::shape::Nhwc;

/// Tasks that reorder a map, and those that copy channels of it.
const REORDER_TASKS: usize = 16;
const COPY_TASKS: usize = 8;

/// Where logical (N, C, H, W) values lie in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Strides {
    /// Of the first value.
    pub offset: usize,
    /// Steps along images, channels, rows and columns.
    pub nchw: [usize; 4],
}

impl Strides {
    /// Of contiguous (N, C, H, W) memory.
    pub fn nchw(shape: Nhwc) -> Self {
        let plane = shape.h * shape.w;
        Strides {
            offset: 0,
            nchw: [plane * shape.c, plane, shape.w, 1],
        }
    }

    /// Whether values of this shape are dense channels-last memory; the stride along an axis of
    /// one does not matter.
    pub fn is_channels_last(&self, shape: Nhwc) -> bool {
        let dense = [shape.h * shape.w * shape.c, 1, shape.w * shape.c, shape.c];
        let sides = [shape.n, shape.c, shape.h, shape.w];
        let steps = self.nchw.iter().zip(dense).zip(sides);
        steps
            .into_iter()
            .all(|((have, want), side)| side <= 1 || *have == want)
    }

    fn end(&self, shape: Nhwc) -> usize {
        if shape.is_empty() {
            return self.offset;
        }
        let sides = [shape.n, shape.c, shape.h, shape.w];
        let last: usize = sides
            .iter()
            .zip(self.nchw)
            .map(|(side, step)| (side - 1) * step)
            .sum();
        self.offset + last + 1
    }
}

/// Copies strided (N, C, H, W) values into channels-last memory.
///
/// # Errors
/// When the strides reach beyond `x`.
pub fn to_nhwc(x: &[f32], strides: Strides, shape: Nhwc) -> Result<Map, Error> {
    if strides.end(shape) > x.len() {
        return Err(Error::Length {
            name: "strided input",
            found: x.len(),
            expected: strides.end(shape),
        });
    }
    let layout = RowLayout::dense(shape.n * shape.h, shape.w * shape.c);
    let work = 4 * shape.len();
    Ok(Map::from_rows(layout, REORDER_TASKS, work, |rows| {
        rows.for_each(|(row, pixels)| fill_row(x, strides, shape, row, pixels));
    }))
}

/// Copies one row of the image, a pixel's channels after the other's.
fn fill_row(x: &[f32], strides: Strides, shape: Nhwc, row: usize, pixels: &mut [f32]) {
    let [sn, sc, sh, sw] = strides.nchw;
    let start = strides.offset + row / shape.h * sn + row % shape.h * sh;
    if (shape.c, sw) == (3, 1) {
        // An image's planes: whole pixels are written, once each.
        let [r, g, b] = [0, 1, 2].map(|c| &x[start + c * sc..][..shape.w]);
        let values = r.iter().zip(g).zip(b);
        for (pixel, ((r, g), b)) in pixels.as_chunks_mut().0.iter_mut().zip(values) {
            *pixel = [*r, *g, *b];
        }
        return;
    }
    for c in 0..shape.c {
        let values = pixels[c..].iter_mut().step_by(shape.c);
        for (column, value) in values.enumerate() {
            *value = x[start + c * sc + column * sw];
        }
    }
}

/// Copies the pixels of `shape` from one map to another, each with its step from one pixel to the next.
pub(crate) fn copy_channels(
    (x, x_pixel): (&[f32], usize),
    shape: Nhwc,
    (out, out_pixel): (&mut SharedMut, usize),
) {
    let layout = RowLayout {
        step: out_pixel,
        ..RowLayout::dense(shape.pixels(), shape.c)
    };
    for_each_share(out, layout, COPY_TASKS, 2 * shape.len(), |rows| {
        for (pixel, out) in rows {
            out.copy_from_slice(&x[pixel * x_pixel..][..shape.c]);
        }
    });
}
