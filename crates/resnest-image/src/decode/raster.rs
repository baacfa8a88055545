//! Decoded pixels in the mode Pillow would open them in, and its conversions to RGB and luma.

use crate::memory::reserved;
use crate::{ColorMode, Image, Result};

/// Pixels as the file has them; each vector is rows top to bottom, samples interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raster {
    pub width: u32,
    pub height: u32,
    pub samples: Samples,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Samples {
    /// Pillow's "L", "1", "LA", and "I;16" already clipped to a byte.
    Luma(Vec<u8>),
    /// "RGB", and "RGBA" with alpha dropped.
    Rgb(Vec<u8>),
    /// "P": indices and their colours.
    Palette(Vec<u8>, Box<Palette>),
    /// An "L" that a palette was put on: RGB by the palette, luma the indices themselves.
    GrayWithPalette(Vec<u8>, Box<Palette>),
    /// "CMYK", 4 bytes a pixel, 255 is full ink.
    Cmyk(Vec<u8>),
}

/// 256 colours. Those a file does not define are black, as in Pillow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Palette(pub [[u8; 3]; 256]);

impl Palette {
    pub fn new(colors: impl IntoIterator<Item = [u8; 3]>) -> Box<Self> {
        let mut palette = [[0; 3]; 256];
        for (entry, color) in palette.iter_mut().zip(colors) {
            *entry = color;
        }
        Box::new(Self(palette))
    }

    pub fn from_rgb(bytes: &[u8]) -> Box<Self> {
        let (colors, _) = bytes.as_chunks::<3>();
        Self::new(colors.iter().copied())
    }
}

impl Raster {
    pub fn convert(self, mode: ColorMode) -> Result<Image> {
        let Self {
            width,
            height,
            samples,
        } = self;
        let data = match mode {
            ColorMode::Rgb => samples.into_rgb()?,
            ColorMode::Luma => samples.into_luma()?,
        };
        Ok(Image {
            width,
            height,
            channels: mode.channels(),
            data,
        })
    }
}

impl Samples {
    fn into_rgb(self) -> Result<Vec<u8>> {
        match self {
            Self::Rgb(pixels) => Ok(pixels),
            Self::Luma(pixels) => flat(&pixels, |&v| [v; 3]),
            Self::Palette(indices, palette) | Self::GrayWithPalette(indices, palette) => {
                flat(&indices, |&i| palette.0[usize::from(i)])
            }
            Self::Cmyk(pixels) => flat(pixels.as_chunks::<4>().0, |&inks| cmyk_to_rgb(inks)),
        }
    }

    fn into_luma(self) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Luma(pixels) | Self::GrayWithPalette(pixels, _) => pixels,
            Self::Rgb(mut pixels) => {
                // In place: a luma never stands behind its pixel.
                let len = pixels.len() / 3;
                for i in 0..len {
                    pixels[i] = luma([pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]]);
                }
                pixels.truncate(len);
                pixels
            }
            Self::Palette(mut indices, palette) => {
                let lumas = palette.0.map(luma);
                indices.iter_mut().for_each(|i| *i = lumas[usize::from(*i)]);
                indices
            }
            Self::Cmyk(pixels) => {
                let inks = pixels.as_chunks::<4>().0;
                let mut out = reserved(inks.len())?;
                out.extend(inks.iter().map(|&inks| luma(cmyk_to_rgb(inks))));
                out
            }
        })
    }
}

fn flat<T>(items: &[T], pixel: impl Fn(&T) -> [u8; 3]) -> Result<Vec<u8>> {
    let mut out = reserved(items.len().saturating_mul(3))?;
    for item in items {
        out.extend_from_slice(&pixel(item));
    }
    Ok(out)
}

/// ITU-R 601 weights in 16-bit fixed point, rounded.
pub(crate) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

/// Pillow's `cmyk2rgb`: the paper's white less black, less its share under each ink.
fn cmyk_to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let white = 255 - u32::from(k);
    [c, m, y].map(|ink| {
        let t = u32::from(ink) * white + 128;
        // The quotient never exceeds `white`.
        (white - (((t >> 8) + t) >> 8)) as u8
    })
}
