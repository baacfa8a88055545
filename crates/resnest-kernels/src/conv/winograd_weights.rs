//! Winograd's transform of the weights: G·g·Gᵀ for every 3x3 kernel, in f64, rounded once.

use crate::arch::winograd::Form;

/// Output channels transformed at once.
const COLUMNS: usize = 8;

/// Transforms the kernels of a panel's output channels, `[channel][k][3][3]`, to `u`,
/// `[product][k][width]`.
pub(crate) fn transform_weights(
    form: Form,
    channels: &[f32],
    k: usize,
    u: &mut [f32],
    width: usize,
) {
    let count = channels.len() / (k * 9);
    for c in 0..k {
        for first in (0..count).step_by(COLUMNS) {
            let some = first..count.min(first + COLUMNS);
            let mut taps = [[0.0; COLUMNS]; 9];
            for (i, channel) in some.clone().enumerate() {
                let kernel = &channels[(channel * k + c) * 9..][..9];
                for (tap, value) in taps.iter_mut().zip(kernel) {
                    tap[i] = f64::from(*value);
                }
            }
            transform(form, &taps, |product, values| {
                let row = &mut u[(product * k + c) * width..][some.clone()];
                for (out, value) in row.iter_mut().zip(values) {
                    *out = *value as f32;
                }
            });
        }
    }
}

/// G·g·Gᵀ of the kernel in each column: `put` gets product after product.
#[inline(always)]
fn transform(form: Form, taps: &[[f64; COLUMNS]; 9], mut put: impl FnMut(usize, &[f64; COLUMNS])) {
    let g = form.weight_rows();
    for (i, row) in g.iter().enumerate() {
        let left: [_; 3] =
            std::array::from_fn(|x| sum([&taps[x], &taps[3 + x], &taps[6 + x]], row));
        for (j, row) in g.iter().enumerate() {
            put(i * g.len() + j, &sum(left.each_ref(), row));
        }
    }
}

/// The sum of three vectors, each times its factor.
#[inline(always)]
fn sum(vectors: [&[f64; COLUMNS]; 3], factors: &[f64; 3]) -> [f64; COLUMNS] {
    let [a, b, c] = vectors;
    std::array::from_fn(|i| a[i] * factors[0] + b[i] * factors[1] + c[i] * factors[2])
}
