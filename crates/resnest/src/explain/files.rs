//! Pictures and maps as files: PNG by the crate `png`, .npy by `npyz`.

use npyz::WriterBuilder;
use resnest_image::Image;

use super::map::ActivationMap;
use super::overlay::reserved;

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
        1 => png::ColorType::Grayscale,
        _ => png::ColorType::Rgb,
    };
    // The encoder filters the whole image before it compresses it, and does not ask whether there is room for that.
    drop(reserved(data.len() + data.len() / 2 + height as usize)?);
    let mut out = reserved(data.len() / 2)?;
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(data)?;
        writer.finish()
    });
    let refused = |_| resnest_image::Error::PixelCount {
        width,
        height,
        channels,
        len: data.len(),
    };
    written.map_err(refused)?;
    Ok(out)
}

/// A map's values as they are, as a .npy file: (H, W), f32.
///
/// # Errors
/// None that writing to memory has; the result leaves room for them.
pub fn npy(map: &ActivationMap) -> std::io::Result<Vec<u8>> {
    let (height, width) = map.size();
    let mut out = Vec::new();
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&[height as u64, width as u64])
        .writer(&mut out)
        .begin_nd()?;
    writer.extend(map.values().iter().copied())?;
    writer.finish()?;
    Ok(out)
}
