//! Pictures and maps as files: PNG by the crate `image`, and numpy's .npy.

use ::image::codecs::png::{CompressionType, FilterType, PngEncoder};
use ::image::{ExtendedColorType, ImageEncoder};
use resnest_image::Image;

use super::map::ActivationMap;
use super::overlay::reserved;
use crate::npy;

/// A PNG of an image, grey or RGB by its channels.
///
/// # Errors
/// [`resnest_image::Error::PixelCount`] if the pixels' count does not fit their size;
/// [`resnest_image::Error::OutOfMemory`].
pub fn png(image: &Image) -> Result<Vec<u8>, crate::Error> {
    image.check()?;
    let Image {
        width,
        height,
        channels,
        ref data,
    } = *image;
    let color = match channels {
        1 => ExtendedColorType::L8,
        _ => ExtendedColorType::Rgb8,
    };
    // The encoder filters the whole image before it compresses it, and does not ask whether there is room for that.
    drop(reserved(data.len() + data.len() / 2 + height as usize)?);
    let mut out = reserved(data.len() / 2)?;
    let encoder =
        PngEncoder::new_with_quality(&mut out, CompressionType::Fast, FilterType::Adaptive);
    let refused = |_| resnest_image::Error::PixelCount {
        width,
        height,
        channels,
        len: data.len(),
    };
    encoder
        .write_image(data, width, height, color)
        .map_err(refused)?;
    Ok(out)
}

/// A map's values as they are, as a .npy file: (H, W), f32.
///
/// # Errors
/// None that writing to memory has; the result leaves room for them.
pub fn npy(map: &ActivationMap) -> std::io::Result<Vec<u8>> {
    let (height, width) = map.size();
    let mut out = npy::header(&[height, width]);
    out.extend(npy::bytes(map.values()));
    Ok(out)
}
