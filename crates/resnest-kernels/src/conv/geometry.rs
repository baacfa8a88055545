//! One application of a convolution: shapes and where windows lie.

use crate::arch::checked::offsets::OffsetTable;
use crate::arch::isa::Isa;
use crate::shape::{ConvSpec, Nhwc};
use std::ops::Range;

/// The shapes and steps of one application.
pub(crate) struct Geometry {
    pub isa: Isa,
    pub spec: ConvSpec,
    pub input: Nhwc,
    pub output: Nhwc,
    /// From one pixel to the next: as many values as it has channels, or more.
    pub x_pixel: usize,
    pub out_pixel: usize,
    /// From one plane to the next of a map that is cut into planes of fewer channels, `x_pixel` or
    /// `out_pixel`; 0 of one that is whole.
    pub x_plane: usize,
    pub out_plane: usize,
}

impl Geometry {
    /// Where in the input's first pixel a channel lies.
    pub fn x_at(&self, channel: usize) -> usize {
        channel / self.x_pixel * self.x_plane + channel % self.x_pixel
    }

    /// The same of the output.
    pub fn out_at(&self, channel: usize) -> usize {
        channel / self.out_pixel * self.out_plane + channel % self.out_pixel
    }

    /// Whether no pixel (of a plane) is followed by anything but the next.
    pub fn is_dense(&self) -> bool {
        let dense = |pixel, plane, channels| plane > 0 || pixel == channels;
        dense(self.x_pixel, self.x_plane, self.input.c)
            && dense(self.out_pixel, self.out_plane, self.output.c)
    }

    /// Multiply-adds of the definition.
    pub fn macs(&self) -> usize {
        self.output.pixels() * self.spec.weight_len()
    }

    /// Image, first row and first column (negative in the padding) under an output pixel.
    pub fn window(&self, pixel: usize) -> (usize, isize, isize) {
        let (row, ox) = (pixel / self.output.w, pixel % self.output.w);
        let (image, oy) = (row / self.output.h, row % self.output.h);
        let start = |o: usize| (o * self.spec.stride) as isize - self.spec.padding as isize;
        (image, start(oy), start(ox))
    }

    /// The offsets under every tap of the given output pixels.
    pub fn fill_table(&self, table: &mut OffsetTable, pixels: Range<usize>) {
        let (Nhwc { h, w, .. }, c) = (self.input, self.x_pixel);
        let ConvSpec {
            kernel,
            stride,
            padding,
            dilation,
            ..
        } = self.spec;
        if kernel == 1 && stride == 1 && padding == 0 {
            return table.fill_rows(pixels.len(), pixels.start * c, c);
        }
        let rows = self.rows(pixels.clone());
        table.fill(kernel * kernel, pixels.len(), |tap, offsets| {
            let (down, across) = (tap / kernel * dilation, tap % kernel * dilation);
            for (image, oy, columns) in &rows {
                // Coordinates above or left of the image wrap to huge ones.
                let y = (oy * stride + down).wrapping_sub(padding);
                if y >= h {
                    offsets.extend(std::iter::repeat_n(-1, columns.len()));
                    continue;
                }
                let first = (image * h + y) * w;
                offsets.extend(columns.clone().map(|ox| {
                    let x = (ox * stride + across).wrapping_sub(padding);
                    if x < w {
                        ((first + x) * c) as isize
                    } else {
                        -1
                    }
                }));
            }
        });
    }

    /// The rows of the output, or parts of them, that some pixels are: image, row and columns.
    pub fn rows(&self, pixels: Range<usize>) -> Vec<(usize, usize, Range<usize>)> {
        let Nhwc { h, w, .. } = self.output;
        let mut rows = Vec::new();
        let mut at = pixels.start;
        while at < pixels.end {
            let (row, first) = (at / w, at % w);
            let columns = first..w.min(first + pixels.end - at);
            at += columns.len();
            rows.push((row / h, row % h, columns));
        }
        rows
    }
}
