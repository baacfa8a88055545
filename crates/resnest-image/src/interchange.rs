//! Pictures to and from the crate `image`, in which Rust programs hold theirs.

use image::{DynamicImage, GrayImage, RgbImage};

use crate::{ColorMode, Error, Image, Result};

impl From<RgbImage> for Image {
    fn from(image: RgbImage) -> Self {
        let (width, height) = image.dimensions();
        Self {
            width,
            height,
            channels: 3,
            data: image.into_raw(),
        }
    }
}

/// Of one channel, for models of one. For others [`Image::into_mode`] makes three of it, as does coming from a
/// `DynamicImage`.
impl From<GrayImage> for Image {
    fn from(image: GrayImage) -> Self {
        let (width, height) = image.dimensions();
        Self {
            width,
            height,
            channels: 1,
            data: image.into_raw(),
        }
    }
}

/// Always RGB: what Pillow's `convert("RGB")` makes of the same samples in its mode for them.
///
/// | `image` | Pillow | becomes |
/// |---|---|---|
/// | `Rgb8`, `Luma8` | `RGB`, `L` | itself; grey three times |
/// | `Rgba8`, `LumaA8` | `RGBA`, `LA` | the same without alpha, which is dropped and not composited |
/// | `Luma16` | `I;16` | grey clipped to a byte: 255 and more are white |
/// | `LumaA16`, `Rgb16`, `Rgba16` | `LA`, `RGB`, `RGBA`, as it opens such files | the high bytes, without alpha |
/// | `Rgb32F`, `Rgba32F`, later ones | none | as `DynamicImage::to_rgb8`: 0 to 1 becomes 0 to 255, rounded |
///
/// (A grey PNG of 16 bits with a transparent colour is `LumaA16` to `image` and `I;16` to Pillow: [`decode`](crate::decode)
/// gives Pillow's pixels of it, and this does not.) Neither colour space nor orientation is looked at. A picture without
/// pixels can be converted, and is refused by whatever uses it ([`Image::check`]). Memory is asked for as `image` itself
/// does: where there is none, the process ends.
///
/// ```
/// use resnest_image::{Image, Transform};
///
/// let photo = image::DynamicImage::new_rgba16(640, 480);
/// let crop = Transform::default().crop(&Image::from(photo))?;
/// let crop = image::RgbImage::try_from(crop)?;
/// assert_eq!(crop.dimensions(), (224, 224));
/// # Ok::<(), resnest_image::Error>(())
/// ```
impl From<DynamicImage> for Image {
    fn from(image: DynamicImage) -> Self {
        match image {
            DynamicImage::ImageRgb8(image) => image.into(),
            other => Self::from(&other),
        }
    }
}

/// As from an owned one, of a copy.
impl From<&DynamicImage> for Image {
    fn from(image: &DynamicImage) -> Self {
        Self {
            width: image.width(),
            height: image.height(),
            channels: 3,
            data: rgb(image),
        }
    }
}

fn rgb(image: &DynamicImage) -> Vec<u8> {
    let high = |v: u16| (v >> 8) as u8;
    match image {
        DynamicImage::ImageRgb8(image) => image.as_raw().clone(),
        DynamicImage::ImageLuma8(image) => each(image, |&[v]: &[u8; 1]| [v; 3]),
        DynamicImage::ImageLumaA8(image) => each(image, |&[v, _]| [v; 3]),
        DynamicImage::ImageRgba8(image) => each(image, |&[r, g, b, _]| [r, g, b]),
        DynamicImage::ImageLuma16(image) => each(image, |&[v]: &[u16; 1]| [v.min(255) as u8; 3]),
        DynamicImage::ImageLumaA16(image) => each(image, |&[v, _]| [high(v); 3]),
        DynamicImage::ImageRgb16(image) => each(image, |&rgb: &[u16; 3]| rgb.map(high)),
        DynamicImage::ImageRgba16(image) => each(image, |&[r, g, b, _]| [r, g, b].map(high)),
        other => other.to_rgb8().into_raw(),
    }
}

/// Every `SIZE` samples by `pixel`.
fn each<T, const SIZE: usize>(samples: &[T], pixel: impl Fn(&[T; SIZE]) -> [u8; 3]) -> Vec<u8> {
    samples.as_chunks().0.iter().flat_map(pixel).collect()
}

/// `ImageRgb8` or `ImageLuma8`, as the channels are.
impl TryFrom<Image> for DynamicImage {
    type Error = Error;

    fn try_from(image: Image) -> Result<Self> {
        Ok(match image.channels {
            1 => Self::ImageLuma8(image.try_into()?),
            _ => Self::ImageRgb8(image.try_into()?),
        })
    }
}

/// Luma becomes grey.
impl TryFrom<Image> for RgbImage {
    type Error = Error;

    fn try_from(image: Image) -> Result<Self> {
        let image = image.into_mode(ColorMode::Rgb)?;
        let (width, height, len) = (image.width, image.height, image.data.len());
        Self::from_raw(width, height, image.data).ok_or(Error::PixelCount {
            width,
            height,
            channels: 3,
            len,
        })
    }
}

/// RGB becomes luma as Pillow's `convert("L")` has it, which is not `image`'s.
impl TryFrom<Image> for GrayImage {
    type Error = Error;

    fn try_from(image: Image) -> Result<Self> {
        let image = image.into_mode(ColorMode::Luma)?;
        let (width, height, len) = (image.width, image.height, image.data.len());
        Self::from_raw(width, height, image.data).ok_or(Error::PixelCount {
            width,
            height,
            channels: 1,
            len,
        })
    }
}

macro_rules! from_borrowed {
    ($($type:ty),+) => {$(
        /// As from an owned one, of a copy.
        impl TryFrom<&Image> for $type {
            type Error = Error;

            fn try_from(image: &Image) -> Result<Self> {
                image.clone().try_into()
            }
        }
    )+};
}

from_borrowed!(DynamicImage, RgbImage, GrayImage);
