//! Pillow's two passes as plain loops: the specification that the SIMD passes are tested against.

use super::filter::{PRECISION_BITS, TapTable};

/// Half of the last place, added before the shift.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// `sum(sample * weight)` back to a pixel: the shift is arithmetic, the result clamped.
fn weigh<'a>(samples: impl Iterator<Item = &'a u8>, weights: &[i32]) -> u8 {
    let sum = samples.zip(weights).fold(HALF, |sum, (&sample, &weight)| {
        sum.wrapping_add(i32::from(sample) * weight)
    });
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// One row; `row` starts at the source position `origin`.
pub(super) fn horizontal(
    row: &[u8],
    channels: usize,
    origin: usize,
    taps: &TapTable,
    out: &mut [u8],
) {
    for (pixel, taps) in out.chunks_exact_mut(channels).zip(taps.iter()) {
        let first = taps.first.saturating_sub(origin) * channels;
        for (channel, value) in pixel.iter_mut().enumerate() {
            let samples = row.iter().skip(first + channel).step_by(channels);
            *value = weigh(samples, taps.weights);
        }
    }
}

/// One output row from rows of `stride` bytes, the first of which starts at `src[0]`.
pub(super) fn vertical(src: &[u8], stride: usize, weights: &[i32], out: &mut [u8]) {
    for (x, value) in out.iter_mut().enumerate() {
        *value = weigh(src.iter().skip(x).step_by(stride), weights);
    }
}
