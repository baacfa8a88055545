//! Winograd's transform of the weights: G·g·Gᵀ for every 3x3 kernel, in f64, rounded once.

use crate::arch::winograd::{Form, Term};

/// Output channels transformed at once.
const COLUMNS: usize = 8;

/// Transforms the kernels of a panel's output channels, `[channel][k][3][3]`, to `u`,
/// `[term][k][width]`, the terms of product after product. Each term has `k` rows, of which those
/// beyond the `inputs` of a kernel stay as they are.
pub(crate) fn transform_weights(
    form: Form,
    channels: &[f32],
    (inputs, k): (usize, usize),
    u: &mut [f32],
    width: usize,
) {
    let count = channels.len() / (inputs * 9);
    let terms = form.weight_terms();
    for c in 0..inputs {
        for first in (0..count).step_by(COLUMNS) {
            let some = first..count.min(first + COLUMNS);
            let mut taps = [[0.0; COLUMNS]; 9];
            for (i, channel) in some.clone().enumerate() {
                let kernel = &channels[(channel * inputs + c) * 9..][..9];
                for (tap, value) in taps.iter_mut().zip(kernel) {
                    tap[i] = f64::from(*value);
                }
            }
            for (index, term) in terms.iter().enumerate() {
                let row = &mut u[(index * k + c) * width..][some.clone()];
                for (out, value) in row.iter_mut().zip(transform(term, &taps)) {
                    *out = value as f32;
                }
            }
        }
    }
}

/// One term of the kernel in each column.
#[inline(always)]
fn transform(term: &Term, taps: &[[f64; COLUMNS]; 9]) -> [f64; COLUMNS] {
    let left: [_; 3] =
        std::array::from_fn(|x| sum([&taps[x], &taps[3 + x], &taps[6 + x]], &term.left));
    sum(left.each_ref(), &term.right)
}

/// The sum of three vectors, each times its factor.
#[inline(always)]
fn sum(vectors: [&[f64; COLUMNS]; 3], factors: &[f64; 3]) -> [f64; COLUMNS] {
    let [a, b, c] = vectors;
    std::array::from_fn(|i| a[i] * factors[0] + b[i] * factors[1] + c[i] * factors[2])
}
