//! Into and out of channels-last memory.

use crate::error::Error;
use crate::map::Map;
use crate::shape::Nhwc;
use crate::share::SharedMut;
use crate::threads::parallel_for;
use std::mem::MaybeUninit;

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
    let [sn, sc, sh, sw] = strides.nchw;
    // SAFETY: every row is written whole.
    unsafe {
        by_rows(shape, |row, pixels| {
            let start = strides.offset + row / shape.h * sn + row % shape.h * sh;
            if (shape.c, sw) == (3, 1) {
                // An image's planes: whole pixels are written, once each.
                let [r, g, b] = [0, 1, 2].map(|c| &x[start + c * sc..][..shape.w]);
                let values = r.iter().zip(g).zip(b);
                for (pixel, ((r, g), b)) in pixels.as_chunks_mut().0.iter_mut().zip(values) {
                    *pixel = [
                        MaybeUninit::new(*r),
                        MaybeUninit::new(*g),
                        MaybeUninit::new(*b),
                    ];
                }
                return;
            }
            for c in 0..shape.c {
                let values = pixels[c..].iter_mut().step_by(shape.c);
                for (column, value) in values.enumerate() {
                    value.write(x[start + c * sc + column * sw]);
                }
            }
        })
    }
}

/// Values that a task of [`join`] copies: 256 KB.
const JOINED: usize = 64 * 1024;

/// The values of some maps one after the other; it does not fail.
pub(crate) fn join(maps: &[&[f32]]) -> Result<Map, Error> {
    let len = maps.iter().map(|map| map.len()).sum();
    // What to copy, and where to.
    let mut pieces = Vec::new();
    let mut at = 0;
    for piece in maps.iter().flat_map(|map| map.chunks(JOINED)) {
        pieces.push((piece, at));
        at += piece.len();
    }
    let write = |out: &SharedMut| {
        parallel_for(pieces.len(), 4 * len, &|task| {
            let (piece, at) = pieces[task];
            // SAFETY: each piece has its own place.
            unsafe { out.fresh(at, piece.len()) }.write_copy_of_slice(piece);
        });
        Ok(())
    };
    // SAFETY: the pieces are all of the values.
    unsafe { Map::written_by(len, write) }
}

/// Copies the pixels of `shape`, from one of `x` to the next and of `out` to the next as told.
pub(crate) fn copy_channels(
    (x, x_pixel): (&[f32], usize),
    shape: Nhwc,
    (out, out_pixel): (&SharedMut, usize),
) {
    each_run(shape, 1, |pixels| {
        for pixel in pixels {
            let from = &x[pixel * x_pixel..][..shape.c];
            // SAFETY: each pixel belongs to one task.
            unsafe { out.fresh(pixel * out_pixel, shape.c) }.write_copy_of_slice(from);
        }
    });
}

/// Calls `f` for runs of pixels, in parallel; `reads` values are read for each one written.
pub(crate) fn each_run(shape: Nhwc, reads: usize, f: impl Fn(std::ops::Range<usize>) + Sync) {
    let pixels = shape.pixels();
    let tasks = pixels.min(8);
    parallel_for(tasks, (reads + 1) * shape.len(), &|task| {
        f(crate::conv::share_of(pixels, 1, task, tasks));
    });
}

/// Makes a channels-last map row by row, in parallel.
///
/// # Safety
/// `fill` writes its whole row.
unsafe fn by_rows(
    shape: Nhwc,
    fill: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync,
) -> Result<Map, Error> {
    let rows = shape.n * shape.h;
    let tasks = rows.min(16);
    let row_len = shape.w * shape.c;
    let write = |out: &SharedMut| {
        parallel_for(
            if shape.is_empty() { 0 } else { tasks },
            4 * shape.len(),
            &|task| {
                for row in crate::conv::share_of(rows, 1, task, tasks) {
                    // SAFETY: each row belongs to one task.
                    fill(row, unsafe { out.fresh(row * row_len, row_len) });
                }
            },
        );
        Ok(())
    };
    // SAFETY: all rows are filled, by the caller's promise.
    unsafe { Map::written_by(shape.len(), write) }
}
