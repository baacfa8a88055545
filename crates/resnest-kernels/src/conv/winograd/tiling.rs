//! Where Winograd's tiles lie.

use crate::arch::checked::winograd::{MAX_PIXELS, TilePixels};
use crate::arch::form::Form;
use crate::conv::geometry::Geometry;

/// Where tiles lie: one for each of `down` by each of `across`.
pub(super) struct Tiling {
    form: Form,
    /// From one row or column of a tile's output to the next.
    pub step: usize,
    down: Vec<Span>,
    across: Vec<Span>,
}

/// The output rows (or columns) of a tile.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub first: usize,
    /// How many lie inside the output.
    pub inside: usize,
}

impl Tiling {
    pub fn new(form: Form, g: &Geometry) -> Self {
        let step = (g.spec.dilation / g.spec.stride).max(1);
        let spans = |side| {
            (0..step)
                .flat_map(|phase| (phase..side).step_by(step * form.outputs()))
                .map(|first| Span {
                    first,
                    inside: form.outputs().min((side - first).div_ceil(step)),
                })
                .collect()
        };
        Tiling {
            form,
            step,
            down: spans(g.output.h),
            across: spans(g.output.w),
        }
    }

    /// Tiles of an image.
    pub fn per_image(&self) -> usize {
        self.down.len() * self.across.len()
    }

    /// Image, rows and columns of a tile.
    pub fn place(&self, tile: usize) -> (usize, Span, Span) {
        let (row, tx) = (tile / self.across.len(), tile % self.across.len());
        let (image, ty) = (row / self.down.len(), row % self.down.len());
        (image, self.down[ty], self.across[tx])
    }

    /// A tile's input pixels from channel `first` on.
    pub fn pixels(&self, g: &Geometry, tile: usize, first: usize) -> TilePixels {
        let (image, down, across) = self.place(tile);
        let inputs = self.form.inputs();
        let (h, w, c) = (g.input.h, g.input.w, g.x_pixel);
        // Rows and columns above or left of the image wrap to huge numbers.
        let place = |span: Span, i: usize| {
            (span.first * g.spec.stride + i * g.spec.dilation).wrapping_sub(g.spec.padding)
        };
        let (top, left) = (place(down, 0), place(across, 0));
        let step = (inputs - 1) * g.spec.dilation;
        if top < h && top + step < h && left < w && left + step < w {
            return TilePixels::Inside {
                first: ((image * h + top) * w + left) * c + first,
                row_stride: g.spec.dilation * w * c,
                pixel_stride: g.spec.dilation * c,
            };
        }
        let mut offsets = [-1; MAX_PIXELS];
        for (i, row) in offsets.chunks_exact_mut(inputs).enumerate().take(inputs) {
            let y = place(down, i);
            for (j, offset) in row.iter_mut().enumerate() {
                let x = place(across, j);
                if y < h && x < w {
                    *offset = (((image * h + y) * w + x) * c + first) as isize;
                }
            }
        }
        TilePixels::Edge(offsets)
    }
}
