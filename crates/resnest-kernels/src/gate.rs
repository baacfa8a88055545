//! Maps weighted channel by channel and added up: what ends a block with squeeze-and-excitation,
//! and what selects among the paths of a selective kernel.

use crate::arch::{Isa, relu, window};
use crate::conv::share_of;
use crate::error::{Error, check_len};
use crate::map::Map;
use crate::shape::Nhwc;
use crate::share::SharedMut;
use crate::threads::parallel_for;
use std::mem::MaybeUninit;

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
    let rows = shape.n * shape.h;
    let row_len = shape.w * shape.c;
    let tasks = if shape.is_empty() { 0 } else { rows.min(16) };
    let fill = |task: usize, out: &crate::share::SharedMut| {
        for row in task * rows / tasks..(task + 1) * rows / tasks {
            let image = row / shape.h;
            let gates = &gates[image * parts.len() * shape.c..][..parts.len() * shape.c];
            // SAFETY: each row belongs to one task.
            let out = unsafe { out.fresh(row * row_len, row_len) };
            fill_row(parts, gates, row * row_len, epilogue, out);
        }
    };
    // SAFETY: the tasks write every row, and each of them whole.
    unsafe {
        Map::written_by(shape.len(), |out| {
            parallel_for(tasks, shape.len(), &|task| fill(task, out));
            Ok(())
        })
    }
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
    let pixels = shape.h * shape.w;
    let parts = pixels.min(16);
    let x = SharedMut::new(x);
    parallel_for(shape.n * parts, shape.len(), &|task| {
        let (image, part) = (task / parts, task % parts);
        let share = share_of(pixels, 1, part, parts);
        let (at, len) = (
            (image * pixels + share.start) * shape.c,
            share.len() * shape.c,
        );
        let gates = &gates[image * shape.c..][..shape.c];
        let residual = epilogue.residual.map(|r| &r[at..at + len]);
        // SAFETY: each pixel belongs to one task.
        let x = unsafe { x.slice(at, len) };
        window::gate(isa, x, gates, residual, epilogue.relu);
    });
    Ok(())
}

/// One row of pixels, which begins at `start`.
fn fill_row(
    parts: &[&[f32]],
    gates: &[f32],
    start: usize,
    epilogue: GateEpilogue,
    out: &mut [MaybeUninit<f32>],
) {
    let chans = gates.len() / parts.len();
    for (pixel, out) in out.chunks_exact_mut(chans).enumerate() {
        let at = start + pixel * chans;
        let (first, rest) = (&parts[0][at..at + chans], &parts[1..]);
        for ((out, x), gate) in out.iter_mut().zip(first).zip(&gates[..chans]) {
            out.write(x * gate);
        }
        // SAFETY: the part and its gates hold as many values from here on, and all were written.
        let out = unsafe { out.assume_init_mut() };
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
