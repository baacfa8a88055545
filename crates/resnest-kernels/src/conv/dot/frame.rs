//! An image of few channels in a frame of zeros, rounded to pairs of bf16: the taps of a row of the kernel are then
//! neighbours.

use super::weights::DotConv;
use crate::arch::checked::dot_tile::round;
use crate::arch::checked::offsets::OffsetTable;
use crate::conv::geometry::Geometry;
use crate::memory::buffer::{with_scratch, words_mut};
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use std::ops::Range;

/// Tasks that round the input.
const FRAME_TASKS: usize = 16;

/// Rows of the image and of its padding.
pub(super) struct Frame {
    /// All rows, those of one image, and words of each.
    rows: usize,
    image_rows: usize,
    row: usize,
}

impl Frame {
    pub fn new(g: &Geometry) -> Self {
        let side = 2 * g.spec.padding;
        let image_rows = g.input.h + side;
        // A row's last window may end with half a word that nothing is multiplied with: one more.
        let row = ((g.input.w + side) * g.input.c).div_ceil(2) + 1;
        Frame {
            rows: g.input.n * image_rows,
            image_rows,
            row,
        }
    }

    /// Words of all rows.
    pub fn words(&self) -> usize {
        self.rows * self.row
    }

    /// Rounds the image into its frame.
    pub fn round(&self, g: &Geometry, conv: &DotConv, x: &[f32], out: &mut [f32]) {
        let layout = RowLayout::dense(self.rows, self.row);
        let mut out = SharedMut::new(out);
        let margin = g.spec.padding * g.input.c;
        let line = g.input.w * g.input.c;
        for_each_share(&mut out, layout, FRAME_TASKS, 2 * g.input.len(), |rows| {
            with_scratch(2 * self.row, |values| {
                values.fill(0.0);
                for (row, words) in rows {
                    let (image, y) = (row / self.image_rows, row % self.image_rows);
                    // Above the image it wraps to a huge number.
                    let y = y.wrapping_sub(g.spec.padding);
                    let words = words_mut(words);
                    if y >= g.input.h {
                        words.fill(0);
                        continue;
                    }
                    let from = &x[(image * g.input.h + y) * g.input.w * g.x_pixel..];
                    let to = &mut values[margin..margin + line];
                    for (to, from) in to.chunks_exact_mut(g.input.c).zip(from.chunks(g.x_pixel)) {
                        to.copy_from_slice(&from[..g.input.c]);
                    }
                    round(g.isa, conv.element, values, conv.rounding, words);
                }
            });
        });
    }

    /// Where each output pixel's rows of the kernel begin.
    pub fn fill_table(&self, g: &Geometry, table: &mut OffsetTable, pixels: Range<usize>) {
        let stride = g.spec.stride;
        let rows = g.rows(pixels.clone());
        table.fill(g.spec.kernel, pixels.len(), |tap, offsets| {
            for (image, oy, columns) in &rows {
                let first = (image * self.image_rows + oy * stride + tap) * self.row;
                let place = |ox: usize| (first + ox * stride * g.input.c / 2) as isize;
                offsets.extend(columns.clone().map(place));
            }
        });
    }
}
