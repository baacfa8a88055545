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
    let tables: Vec<[f32; 256]> = mean.iter().zip(std).map(|(&m, &s)| table(m, s)).collect();
    match (&tables[..], channels) {
        ([red, green, blue], 3) => {
            // All three in one walk over the pixels.
            let (reds, rest) = out.split_at_mut(expected / 3);
            let (greens, blues) = rest.split_at_mut(expected / 3);
            let planes = reds.iter_mut().zip(greens).zip(blues);
            for (pixel, ((r, g), b)) in image.data.chunks_exact(3).zip(planes) {
                *r = red[usize::from(pixel[0])];
                *g = green[usize::from(pixel[1])];
                *b = blue[usize::from(pixel[2])];
            }
        }
        ([only], 1) => {
            for (value, &sample) in out.iter_mut().zip(&image.data) {
                *value = only[usize::from(sample)];
            }
        }
        _ => {
            let detail = format!("{} values for {channels} channels", tables.len());
            return Err(Error::BadTransform {
                option: "mean",
                detail,
            });
        }
    }
    Ok(())
}
