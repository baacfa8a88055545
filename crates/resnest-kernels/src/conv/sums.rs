//! Sums over the pixels of each channel, which a convolution hands out beside its result.

use super::geometry::Geometry;
use crate::arch::checked::rows::columns;

/// The sums over each image's pixels of a finished output.
pub(super) fn sum_columns(g: &Geometry, out: &[f32], sums: &mut [f32]) {
    let image_len = g.output.h * g.output.w * g.output.c;
    for (image, sums) in out
        .chunks_exact(image_len)
        .zip(sums.chunks_exact_mut(g.output.c))
    {
        columns(g.isa, false, image, g.output.c, sums);
    }
}

/// Adds `[image][part of the image][channels]` to `[image][channels]`, always in that order.
pub(super) fn add_parts(total: &mut [f32], partial: &[f32], channels: usize, parts: usize) {
    let per_image = parts * channels / total.len();
    for (image, sums) in total.chunks_exact_mut(channels).enumerate() {
        for part in image * per_image..(image + 1) * per_image {
            let row = &partial[part * channels..][..channels];
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value);
        }
    }
}
