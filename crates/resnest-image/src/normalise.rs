//! u8 pixels to the f32 planes that the network takes.

use crate::{Error, Image, Result};

/// `(v / 255 - mean) / std` for every byte, each step rounded to f32 as torchvision's
/// `to_tensor` and `normalize` round it.
fn table(mean: f64, std: f64) -> [f32; 256] {
    let (mean, std) = (mean as f32, std as f32);
    std::array::from_fn(|v| (v as f32 / 255.0 - mean) / std)
}

/// (H, W, C) u8 to (C, H, W) f32; `mean` and `std` have one value a channel.
pub(crate) fn normalise(image: &Image, mean: &[f64], std: &[f64], out: &mut [f32]) -> Result<()> {
    image.check()?;
    let (expected, actual) = (image.data.len(), out.len());
    if expected != actual {
        return Err(Error::OutputLength { expected, actual });
    }
    let channels = usize::from(image.channels);
    let plane = expected / channels;
    for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
        let constant = |values: &[f64]| values.get(channel).copied().unwrap_or_default();
        let table = table(constant(mean), constant(std));
        let samples = image.data.iter().skip(channel).step_by(channels);
        for (value, &sample) in out.iter_mut().zip(samples) {
            *value = table[usize::from(sample)];
        }
    }
    Ok(())
}
