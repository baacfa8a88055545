//! Encoded bytes to pixels: which format it is, what the limits say, and Pillow's modes.

mod bmp;
mod bytes;
mod exif;
mod gif;
mod ico;
mod jpeg;
mod orient;
mod png;
mod pnm;
mod pnm_plain;
mod qoi;
mod raster;
mod tga;
mod tiff;
mod tiff_ifd;
mod webp;

use std::fmt;

use crate::{ColorMode, Error, Image, Limits, Result, contain};
use raster::{Raster, Samples};

/// The image formats read here, recognised by their first bytes as Pillow recognises them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JPEG and JFIF, MPO's first picture.
    Jpeg,
    /// PNG, APNG's default picture.
    Png,
    /// WebP, the first frame of an animation.
    WebP,
    /// GIF, the first frame of an animation.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF, the first page.
    Tiff,
    /// PBM, PGM, PPM and PFM.
    Pnm,
    /// Truevision's TGA.
    Tga,
    /// The Quite OK Image Format.
    Qoi,
    /// Windows icon, the picture of the most pixels.
    Ico,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Pnm => "PNM",
            Self::Tga => "TGA",
            Self::Qoi => "QOI",
            Self::Ico => "ICO",
        })
    }
}

impl Format {
    fn of(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(Error::Empty);
        }
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        Ok(if starts(b"\xff\xd8\xff") {
            Self::Jpeg
        } else if starts(png::SIGNATURE) {
            Self::Png
        } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Self::WebP
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Self::Gif
        } else if starts(b"BM") {
            Self::Bmp
        } else if tiff::PREFIXES.iter().any(|prefix| starts(prefix)) {
            Self::Tiff
        } else if pnm::accepts(bytes) {
            Self::Pnm
        } else if qoi::accepts(bytes) {
            Self::Qoi
        } else if starts(ico::PREFIX) {
            Self::Ico
        } else if tga::accepts(bytes) {
            // Last: it has no magic number.
            Self::Tga
        } else {
            let magic: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
            return Err(Error::UnknownFormat {
                magic: magic.join(" "),
            });
        })
    }
}

/// What an image's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The file's format.
    pub format: Format,
    /// Width in pixels, before any orientation is applied.
    pub width: u32,
    /// Height in pixels, before any orientation is applied.
    pub height: u32,
}

/// Choices that Pillow leaves to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecodeOptions {
    /// RGB or luma. Default RGB.
    pub color_mode: ColorMode,
    /// Turn a JPEG, PNG or WebP upright by its EXIF orientation. Default false: neither Pillow nor timm
    /// does. A TIFF is always turned, as Pillow 13 does.
    pub exif_orientation: bool,
}

/// Reads the header and holds it against `limits`; no pixel is decoded.
///
/// # Errors
/// As [`decode`], for the parts that precede the pixels.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Header> {
    limits.check_bytes(bytes)?;
    let format = Format::of(bytes)?;
    let (width, height) = contained(format, || match format {
        Format::Jpeg => jpeg::size(bytes),
        Format::Png => png::size(bytes),
        Format::WebP => webp::size(bytes),
        Format::Gif => gif::size(bytes),
        Format::Bmp => bmp::size(bytes),
        Format::Tiff => tiff::size(bytes),
        Format::Pnm => pnm::size(bytes),
        Format::Tga => tga::size(bytes),
        Format::Qoi => qoi::size(bytes),
        Format::Ico => ico::size(bytes),
    })?;
    limits.check_size(format, width, height)?;
    // `check_size` keeps both sides within i32.
    Ok(Header {
        format,
        width: width as u32,
        height: height as u32,
    })
}

/// Decodes to RGB: the bytes of Pillow's `Image.open(..).convert("RGB")`.
///
/// Alpha is dropped, not composited; of an animation the first frame is taken; colour profiles, gamma
/// and, except in TIFF, orientation are not applied.
///
/// # Errors
/// [`Error::Empty`] and [`Error::UnknownFormat`]; [`Error::TooManyBytes`], [`Error::TooManyPixels`] and
/// [`Error::TooMuchMemory`] by `limits`; [`Error::Truncated`] and [`Error::Corrupt`] for damaged data;
/// [`Error::Unsupported`] for the kinds that the crate's documentation lists.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Image> {
    decode_as(bytes, ColorMode::Rgb, limits)
}

/// Decodes to RGB or luma: Pillow's `convert("RGB")` or `convert("L")`.
///
/// # Errors
/// As [`decode`].
pub fn decode_as(bytes: &[u8], color_mode: ColorMode, limits: &Limits) -> Result<Image> {
    decode_with(
        bytes,
        &DecodeOptions {
            color_mode,
            ..DecodeOptions::default()
        },
        limits,
    )
}

/// Decodes with every choice given.
///
/// # Errors
/// As [`decode`].
pub fn decode_with(bytes: &[u8], options: &DecodeOptions, limits: &Limits) -> Result<Image> {
    let format = probe(bytes, limits)?.format;
    contained(format, || decode_format(bytes, format, options, limits))
}

/// Pixels in another mode.
pub(crate) fn convert(image: Image, mode: ColorMode) -> Result<Image> {
    let samples = match image.channels {
        1 => Samples::Luma(image.data),
        _ => Samples::Rgb(image.data),
    };
    let (width, height) = (image.width, image.height);
    Raster {
        width,
        height,
        samples,
    }
    .convert(mode)
}

/// The one place where a decoder's panic ends: it is an error of this image.
fn contained<T>(format: Format, work: impl FnOnce() -> Result<T>) -> Result<T> {
    contain(work).unwrap_or_else(|detail| Err(Error::Panicked { format, detail }))
}

fn decode_format(
    bytes: &[u8],
    format: Format,
    options: &DecodeOptions,
    limits: &Limits,
) -> Result<Image> {
    let raster = match format {
        Format::Jpeg => jpeg::decode(bytes, limits)?,
        Format::Png => png::decode(bytes, limits)?,
        Format::WebP => webp::decode(bytes, limits)?,
        Format::Gif => gif::decode(bytes, limits)?,
        Format::Bmp => bmp::decode(bytes, limits)?,
        Format::Tiff => tiff::decode(bytes, limits)?,
        Format::Pnm => pnm::decode(bytes, limits)?,
        Format::Tga => tga::decode(bytes, limits)?,
        Format::Qoi => qoi::decode(bytes, limits)?,
        Format::Ico => ico::decode(bytes, limits)?,
    };
    let image = raster.convert(options.color_mode)?;
    if !options.exif_orientation {
        return Ok(image);
    }
    let orientation = match format {
        Format::Jpeg => jpeg::orientation(bytes),
        Format::Png => exif::orientation(png::exif(bytes), None),
        Format::WebP => exif::orientation(webp::exif(bytes), None),
        _ => 1,
    };
    orient::apply(image, orientation)
}
