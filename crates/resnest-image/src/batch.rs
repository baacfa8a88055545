//! Several encoded images on several threads, each with its own result.

use rayon::prelude::*;

use crate::{DecodeOptions, Image, Limits, Result, Transform, decode_with};

/// Decodes each image, on rayon's current pool; results in input order, one bad image harms no other.
pub fn decode_batch<B: AsRef<[u8]> + Sync>(
    images: &[B],
    options: &DecodeOptions,
    limits: &Limits,
) -> Vec<Result<Image>> {
    images
        .par_iter()
        .map(|bytes| decode_with(bytes.as_ref(), options, limits))
        .collect()
}

/// [`Transform::apply`] to each image, on rayon's current pool; results in input order, one bad image
/// harms no other.
///
/// `limits` hold for each image alone: at most the pool's thread count times
/// [`Limits::max_memory`] is in use at once.
pub fn apply_batch<B: AsRef<[u8]> + Sync>(
    transform: &Transform,
    images: &[B],
    limits: &Limits,
) -> Vec<Result<Vec<f32>>> {
    images
        .par_iter()
        .map(|bytes| transform.apply(bytes.as_ref(), limits))
        .collect()
}
