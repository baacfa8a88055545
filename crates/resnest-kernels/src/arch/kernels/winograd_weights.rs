//! Winograd's transform of the weights: G·g·Gᵀ for every 3x3 kernel, in f64, rounded once.
//!
//! Plain loops, compiled for each instruction set.

use crate::arch::form::{Form, Term};

/// Output channels transformed at once: a cache line of results.
const COLUMNS: usize = 16;
/// Most rows of G of any form, those of both parities counted.
const MAX_ROWS: usize = 9;

/// A value of that many kernels.
type Columns = [f64; COLUMNS];

/// The kernels of a panel's output channels, and where they go.
pub(crate) struct Weights<'a> {
    pub form: Form,
    /// `[channel][k][3][3]`
    pub channels: &'a [f32],
    /// Kernels of a channel.
    pub inputs: usize,
    /// Rows of a term; those beyond `inputs` stay as they are.
    pub k: usize,
    /// `[term][k][width]`, the terms of product after product.
    pub u: &'a mut [f32],
    pub width: usize,
}

/// The transform compiled for one instruction set.
pub(crate) type WeightsFn = unsafe fn(&mut Weights);

/// Writes `w.u`.
#[inline(always)]
pub(crate) fn transform(w: &mut Weights) {
    let count = w.channels.len() / (w.inputs * 9);
    let (rows, terms) = w.form.weight_terms();
    for c in 0..w.inputs {
        for first in (0..count).step_by(COLUMNS) {
            let some = first..count.min(first + COLUMNS);
            let mut taps = [[0.0; COLUMNS]; 9];
            for (i, channel) in some.clone().enumerate() {
                let kernel = &w.channels[(channel * w.inputs + c) * 9..][..9];
                for (tap, value) in taps.iter_mut().zip(kernel) {
                    tap[i] = f64::from(*value);
                }
            }
            let mut half = [[[0.0; COLUMNS]; 3]; MAX_ROWS];
            for (half, row) in half.iter_mut().zip(&rows) {
                for (x, sum) in half.iter_mut().enumerate() {
                    weighted(sum, [&taps[x], &taps[3 + x], &taps[6 + x]], row);
                }
            }
            for (index, Term { left, right }) in terms.iter().enumerate() {
                let mut sum = [0.0; COLUMNS];
                weighted(&mut sum, half[*left].each_ref(), &rows[*right]);
                let out = &mut w.u[(index * w.k + c) * w.width..][some.clone()];
                // A known length makes whole registers of the loop.
                match <&mut [f32; COLUMNS]>::try_from(&mut *out) {
                    Ok(out) => round(out, &sum),
                    Err(_) => round(out, &sum),
                }
            }
        }
    }
}

/// The sum of three vectors, each times its factor.
#[inline(always)]
fn weighted(sum: &mut Columns, [a, b, c]: [&Columns; 3], factors: &[f64; 3]) {
    for (i, sum) in sum.iter_mut().enumerate() {
        *sum = a[i] * factors[0] + b[i] * factors[1] + c[i] * factors[2];
    }
}

#[inline(always)]
fn round(out: &mut [f32], values: &Columns) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = *value as f32;
    }
}
