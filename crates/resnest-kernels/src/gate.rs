//! Maps weighted channel by channel and added up: what ends a block with squeeze-and-excitation,
//! and what selects among the paths of a selective kernel.

use crate::arch::Isa;
use crate::arch::checked::rows;
use crate::arch::vector::relu;
use crate::error::{Error, check_len};
use crate::memory::map::Map;
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use crate::shape::Nhwc;

/// Tasks of a map, or of each image of one.
const TASKS: usize = 16;

/// What follows the weighted sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct GateEpilogue<'a> {
    /// Added to the sum, of its shape.
    pub residual: Option<&'a [f32]>,
    /// Negative results become 0.
    pub relu: bool,
}

/// `Σ parts[p] · gates[n][p][c]`, then the epilogue. Every part has the shape `shape`; `gates` is
/// `[n][parts][c]`, one weight for each channel of each part of each image.
///
/// # Errors
/// Without parts, or when a length does not fit.
pub fn gated_sum(
    parts: &[&[f32]],
    gates: &[f32],
    shape: Nhwc,
    epilogue: GateEpilogue,
) -> Result<Map, Error> {
    if parts.is_empty() {
        return Err(Error::spec("gate", "there is nothing to weigh"));
    }
    for part in parts.iter().copied().chain(epilogue.residual) {
        check_len("part", part.len(), shape.len())?;
    }
    check_len("gates", gates.len(), shape.n * parts.len() * shape.c)?;
    let row_len = shape.w * shape.c;
    let layout = RowLayout::dense(shape.n * shape.h, row_len);
    Ok(Map::from_rows(layout, TASKS, shape.len(), |rows| {
        for (row, out) in rows {
            let image = row / shape.h;
            let gates = &gates[image * parts.len() * shape.c..][..parts.len() * shape.c];
            fill_row(parts, gates, row * row_len, epilogue, out);
        }
    }))
}

/// `x · gates[n][c]` in place, then the epilogue: [`gated_sum`] of one part that nobody else wants,
/// without a second map to be written.
///
/// # Errors
/// When a length does not fit.
pub fn gate_in_place(
    isa: Isa,
    x: &mut [f32],
    gates: &[f32],
    shape: Nhwc,
    epilogue: GateEpilogue,
) -> Result<(), Error> {
    check_len("map", x.len(), shape.len())?;
    check_len("gates", gates.len(), shape.n * shape.c)?;
    if let Some(residual) = epilogue.residual {
        check_len("residual", residual.len(), shape.len())?;
    }
    if shape.is_empty() {
        return Ok(());
    }
    let per_image = shape.h * shape.w;
    let layout = RowLayout::dense(shape.pixels(), shape.c);
    let tasks = shape.n * TASKS.min(per_image);
    for_each_share(
        &mut SharedMut::new(x),
        layout,
        tasks,
        shape.len(),
        |share| {
            let (mut pixels, mut x) = share.whole();
            while !pixels.is_empty() {
                // The pixels of one image.
                let image = pixels.start / per_image;
                let end = pixels.end.min((image + 1) * per_image);
                let at = pixels.start * shape.c;
                let (part, after) = x.split_at_mut(end * shape.c - at);
                let gates = &gates[image * shape.c..][..shape.c];
                let residual = epilogue.residual.map(|r| &r[at..end * shape.c]);
                rows::gate(isa, part, gates, residual, epilogue.relu);
                (pixels.start, x) = (end, after);
            }
        },
    );
    Ok(())
}

/// One row of pixels, which begins at `start`.
fn fill_row(
    parts: &[&[f32]],
    gates: &[f32],
    start: usize,
    epilogue: GateEpilogue,
    out: &mut [f32],
) {
    let chans = gates.len() / parts.len();
    for (pixel, out) in out.chunks_exact_mut(chans).enumerate() {
        let at = start + pixel * chans;
        let (first, rest) = (&parts[0][at..at + chans], &parts[1..]);
        for ((out, x), gate) in out.iter_mut().zip(first).zip(&gates[..chans]) {
            *out = x * gate;
        }
        for (part, gates) in rest.iter().zip(gates[chans..].chunks_exact(chans)) {
            for ((out, x), gate) in out.iter_mut().zip(&part[at..]).zip(gates) {
                *out += x * gate;
            }
        }
        if let Some(residual) = epilogue.residual {
            let residual = &residual[at..];
            out.iter_mut().zip(residual).for_each(|(out, r)| *out += r);
        }
        if epilogue.relu {
            out.iter_mut().for_each(|out| *out = relu(*out));
        }
    }
}
