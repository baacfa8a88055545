//! Short taps made long ones: the input in a frame of zeros, where the taps of a row of the kernel are neighbours, or
//! copied into a row for each output pixel (im2col).

use super::tasks::Task;
use crate::arch::checked::offsets::OffsetTable;
use crate::conv::geometry::Geometry;
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use crate::shape::Nhwc;
use std::ops::Range;

/// The input with its padding.
pub(super) fn framed(g: &Geometry) -> Nhwc {
    let side = 2 * g.spec.padding;
    Nhwc {
        h: g.input.h + side,
        w: g.input.w + side,
        ..g.input
    }
}

/// Tasks that copy the input.
const FRAME_TASKS: usize = 16;

/// Copies the input into `out`, its padding around it.
pub(super) fn frame(g: &Geometry, x: &[f32], framed: Nhwc, out: &mut [f32]) {
    let channels = g.input.c;
    let (row_len, inner_len) = (framed.w * channels, g.input.w * channels);
    let margin = g.spec.padding * channels;
    let layout = RowLayout::dense(framed.n * framed.h, row_len);
    let mut out = SharedMut::new(out);
    for_each_share(&mut out, layout, FRAME_TASKS, framed.len(), |rows| {
        for (row, out) in rows {
            let (image, y) = (row / framed.h, row % framed.h);
            // Above the image it wraps to a huge number.
            let y = y.wrapping_sub(g.spec.padding);
            if y >= g.input.h {
                out.fill(0.0);
                continue;
            }
            let from = &x[(image * g.input.h + y) * g.input.w * g.x_pixel..];
            out[..margin].fill(0.0);
            out[margin + inner_len..].fill(0.0);
            let out = &mut out[margin..margin + inner_len];
            if g.x_pixel == channels {
                out.copy_from_slice(&from[..inner_len]);
            } else {
                let pixels = out.chunks_exact_mut(channels);
                for (out, from) in pixels.zip(from.chunks(g.x_pixel)) {
                    out.copy_from_slice(&from[..channels]);
                }
            }
        }
    });
}

/// Where each output pixel's rows of the kernel begin in the framed input.
pub(super) fn fill_framed(table: &mut OffsetTable, g: &Geometry, pixels: Range<usize>) {
    let (framed, stride) = (framed(g), g.spec.stride);
    let rows = g.rows(pixels.clone());
    table.fill(g.spec.kernel, pixels.len(), |tap, offsets| {
        for (image, oy, columns) in &rows {
            let first = (image * framed.h + oy * stride + tap) * framed.w;
            let columns = columns.clone();
            offsets.extend(columns.map(|ox| ((first + ox * stride) * framed.c) as isize));
        }
    });
}

/// Copies the pixels under every tap of every output pixel into a row: `[tap][channel]`.
pub(super) fn gather(g: &Geometry, x: &[f32], task: &Task, rows: &mut [f32]) {
    let channels = g.spec.group_in();
    let first = task.group * channels;
    let whole_rows = g.spec.dilation == 1 && channels == g.x_pixel;
    let row_len = g.spec.taps() * channels;
    for (row, pixel) in rows.chunks_exact_mut(row_len).zip(task.pixels.clone()) {
        let (image, top, left) = g.window(pixel);
        let lines = row.chunks_exact_mut(g.spec.kernel * channels);
        for (ky, line) in lines.enumerate() {
            let y = top + (ky * g.spec.dilation) as isize;
            if y as usize >= g.input.h {
                line.fill(0.0);
                continue;
            }
            let at = (image * g.input.h + y as usize) * g.input.w * g.x_pixel;
            let source = &x[at..at + (g.input.w - 1) * g.x_pixel + g.input.c];
            let inside = left >= 0 && left as usize + g.spec.kernel <= g.input.w;
            if whole_rows && inside {
                let at = left as usize * channels;
                line.copy_from_slice(&source[at..at + line.len()]);
            } else {
                gather_line(g, source, left, first, line);
            }
        }
    }
}

/// One row of the kernel, tap by tap.
fn gather_line(g: &Geometry, source: &[f32], left: isize, first: usize, line: &mut [f32]) {
    for (kx, values) in line.chunks_exact_mut(g.spec.group_in()).enumerate() {
        let x = (left + (kx * g.spec.dilation) as isize) as usize;
        if x < g.input.w {
            let at = x * g.x_pixel + first;
            values.copy_from_slice(&source[at..at + values.len()]);
        } else {
            values.fill(0.0);
        }
    }
}
