//! The input, rounded, in a frame of its padding: the taps of a row of the kernel are then neighbours, and are read as
//! one. A tap begins with the places of its pixels, which takes as long as some words of k.

use super::weights::DotConv;
use crate::arch::checked::dot_tile::round;
use crate::arch::checked::offsets::OffsetTable;
use crate::conv::geometry::Geometry;
use crate::conv::operands::Source;
use crate::memory::buffer::{with_scratch, words_mut};
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use std::ops::Range;

/// Tasks that fill a frame.
const FRAME_TASKS: usize = 16;

/// `[group][image][row][column]`, rows and columns of the image and of its padding.
pub(super) struct Frame {
    groups: usize,
    /// Rows of an image.
    rows: usize,
    /// Words of a row.
    row: usize,
    /// Values of bf16, or words, from one column to the next; of few channels a column may begin with half a word.
    column: usize,
    in_pairs: bool,
}

impl Frame {
    /// The frame for an application. Its input has few channels, of which a word has those of neighbouring pixels, or whole
    /// words of each pixel.
    pub fn new(g: &Geometry, conv: &DotConv) -> Self {
        let (rows, columns) = (
            g.input.h + 2 * g.spec.padding,
            g.input.w + 2 * g.spec.padding,
        );
        let (groups, column, row) = match conv.joined {
            // A row's last window may end with half a word that nothing is multiplied with: one more.
            true => (1, g.input.c, (columns * g.input.c).div_ceil(2) + 1),
            false => (g.spec.groups, conv.k, columns * conv.k),
        };
        Frame {
            groups,
            rows,
            row,
            column,
            in_pairs: conv.joined,
        }
    }

    /// Words of a group.
    pub fn group_words(&self, g: &Geometry) -> usize {
        g.input.n * self.rows * self.row
    }

    /// Words of all groups.
    pub fn words(&self, g: &Geometry) -> usize {
        self.groups * self.group_words(g)
    }

    /// Fills it.
    pub fn fill(&self, g: &Geometry, conv: &DotConv, source: Source, out: &mut [f32]) {
        let all = RowLayout::dense(self.groups * g.input.n * self.rows, self.row);
        let work = 2 * g.input.len();
        for_each_share(&mut SharedMut::new(out), all, FRAME_TASKS, work, |rows| {
            for (index, words) in rows {
                let words = words_mut(words);
                let (group, line) = (
                    index / (g.input.n * self.rows),
                    index % (g.input.n * self.rows),
                );
                let (image, y) = (line / self.rows, line % self.rows);
                // Above the image it wraps to a huge number.
                let y = y.wrapping_sub(g.spec.padding);
                if y >= g.input.h {
                    words.fill(conv.padding[0]);
                    continue;
                }
                let first = (image * g.input.h + y) * g.input.w;
                match source {
                    Source::Map(x) if self.in_pairs => {
                        self.fill_pairs(g, conv, &x[first * g.x_pixel..], words)
                    }
                    _ => self.fill_row(g, conv, (source, first), group, words),
                }
            }
        });
    }

    /// A row of few channels, pairs of which become words wherever a pixel ends.
    fn fill_pairs(&self, g: &Geometry, conv: &DotConv, x: &[f32], words: &mut [u32]) {
        let margin = g.spec.padding * g.input.c;
        with_scratch(2 * words.len(), |values| {
            values.fill(0.0);
            let line = &mut values[margin..margin + g.input.w * g.input.c];
            for (to, from) in line.chunks_exact_mut(g.input.c).zip(x.chunks(g.x_pixel)) {
                to.copy_from_slice(&from[..g.input.c]);
            }
            round(g.isa, conv.element, values, conv.rounding, words);
        });
    }

    /// A row of a group's channels, from pixel `first` on.
    fn fill_row(
        &self,
        g: &Geometry,
        conv: &DotConv,
        (source, first): (Source, usize),
        group: usize,
        words: &mut [u32],
    ) {
        let margin = g.spec.padding * conv.k;
        let (left, rest) = words.split_at_mut(margin);
        let (line, right) = rest.split_at_mut(g.input.w * conv.k);
        left.fill(conv.padding[0]);
        right.fill(conv.padding[0]);
        let whole = g.spec.groups == 1 && conv.channels.is_multiple_of(conv.values);
        match source {
            Source::Map(x) if whole && g.x_pixel == conv.channels => {
                let x = &x[first * g.x_pixel..][..g.input.w * conv.channels];
                round(g.isa, conv.element, x, conv.rounding, line);
            }
            Source::Map(x) => {
                let x = x[first * g.x_pixel..].chunks(g.x_pixel);
                for (words, pixel) in line.chunks_exact_mut(conv.k).zip(x) {
                    let values = &pixel[group * conv.channels..][..conv.channels];
                    round(g.isa, conv.element, values, conv.rounding, words);
                }
            }
            Source::Words(x) if whole => {
                line.copy_from_slice(&x[first * g.x_pixel..][..line.len()]);
            }
            Source::Words(x) => {
                let x = x[first * g.x_pixel..].chunks_exact(g.x_pixel);
                for (words, pixel) in line.chunks_exact_mut(conv.k).zip(x) {
                    words.copy_from_slice(&pixel[group * conv.k..][..conv.k]);
                }
            }
            // Only 1x1 convolutions read them, and those need no frame.
            Source::WeightedSplits(_) => unreachable!("weighted sums in a frame"),
        }
    }

    /// Where each output pixel's rows of the kernel begin in its group.
    pub fn fill_table(&self, g: &Geometry, table: &mut OffsetTable, pixels: Range<usize>) {
        let rows = g.rows(pixels.clone());
        // Of few channels every window begins with a whole word.
        let step = g.spec.stride * self.column / if self.in_pairs { 2 } else { 1 };
        table.fill(g.spec.kernel, pixels.len(), |tap, offsets| {
            for (image, oy, columns) in &rows {
                let first = (image * self.rows + oy * g.spec.stride + tap) * self.row;
                let place = |ox: usize| (first + ox * step) as isize;
                offsets.extend(columns.clone().map(place));
            }
        });
    }
}
