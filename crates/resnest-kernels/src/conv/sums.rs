//! Sums over the pixels of each channel, which a convolution hands out beside its result.

use super::direct::Task;
use super::geometry::Geometry;
use crate::arch::checked::rows::columns;
use crate::memory::buffer::with_scratch;
use crate::memory::share::SharedMut;

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

/// Runs `all` of some tasks; where channel sums are wanted with room for those of every part of them,
/// `[part][channels]`, which are then added up.
pub(super) fn by_parts(
    sums: Option<&mut [f32]>,
    tasks: &[Task],
    channels: usize,
    all: impl FnOnce(Option<&SharedMut>),
) {
    let Some(total) = sums else {
        return all(None);
    };
    let parts = tasks.iter().map(|task| task.part + 1).max().unwrap_or(0);
    with_scratch(parts * channels, |partial| {
        all(Some(&SharedMut::new(partial)));
        add_parts(total, partial, channels, parts);
    });
}

/// Runs some panels of one width; where channel sums are wanted with room for those of their columns, which then go
/// to `place`. `cols`: valid columns of the last panel.
///
/// # Safety
/// No other task has these places of `partial`.
pub(super) unsafe fn with_columns(
    partial: Option<&SharedMut>,
    (place, cols): (usize, usize),
    (panels, width): (usize, usize),
    run: impl FnOnce(Option<&mut [f32]>),
) {
    let Some(partial) = partial else {
        return run(None);
    };
    with_scratch(panels * width, |columns| {
        columns.fill(0.0);
        run(Some(columns));
        let valid = (panels - 1) * width + cols;
        // SAFETY: the caller's promise.
        let sums = unsafe { partial.slice(place, valid) };
        sums.copy_from_slice(&columns[..valid]);
    });
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
