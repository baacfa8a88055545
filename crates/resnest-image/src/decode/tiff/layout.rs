//! What the tags say of the samples: Pillow's `TiffImagePlugin._setup` and its table `OPEN_INFO`, as far as they are
//! read here.

use super::FORMAT;
use crate::decode::bytes::unpack;
use crate::decode::tiff_ifd::Directory;
use crate::{Error, Result};

/// Samples a pixel that Pillow reads at most.
const MAX_SAMPLES: usize = 6;

/// What a pixel is to Pillow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Grey of 1, 2, 4 or 8 bits; with white as 0 or as the largest.
    Gray {
        inverted: bool,
    },
    /// Grey of 16 bits, clipped to a byte.
    Gray16,
    Palette,
    Rgb,
    /// Colours that are divided by their alpha.
    Premultiplied,
    Cmyk,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub width: usize,
    pub height: usize,
    pub kind: Kind,
    /// Bits of every sample, and the samples of a pixel.
    pub bits: usize,
    pub samples: usize,
    /// Each sample in a plane of its own.
    pub planar: bool,
    /// Samples that the photometric interpretation and the extra ones make, as Pillow counts them for planes.
    pub counted: usize,
    /// The first extra sample is said to be an alpha by which nothing is multiplied.
    pub straight: bool,
    /// The order of a sample's two bytes.
    pub big_endian: bool,
}

fn unsupported<T>(detail: String) -> Result<T> {
    Err(Error::unsupported(FORMAT, detail))
}

pub(super) fn dimensions(directory: &Directory) -> Result<(u64, u64)> {
    match (directory.value(256)?, directory.value(257)?) {
        (Some(width), Some(height)) => Ok((width, height)),
        _ if !directory.whole => Err(super::cut_directory()),
        _ => Err(Error::corrupt(
            FORMAT,
            "tags 256 and 257, the dimensions, are missing",
        )),
    }
}

/// A short list of numbers, or `default` where the tag is missing.
fn list(directory: &Directory, tag: u16, default: &[u64]) -> Result<Vec<u64>> {
    match directory.values(tag, false)? {
        None => Ok(default.to_vec()),
        Some(values) => values.list(64).ok_or_else(|| {
            let detail = format!("tag {tag} has {} or negative values", values.len());
            Error::corrupt(FORMAT, detail)
        }),
    }
}

/// The photometric interpretation; Pillow takes a tag of several values for none.
fn photometric(directory: &Directory) -> Result<u64> {
    match directory.values(262, false)? {
        Some(values) if values.len() == 1 => directory.value(262).map(|v| v.unwrap_or(0)),
        _ => Ok(0),
    }
}

/// Bits of each sample and the extra samples' kinds, made to agree as Pillow does.
fn samples(directory: &Directory, planar: bool) -> Result<(Vec<u64>, Vec<u64>)> {
    let mut extra = list(directory, 338, &[])?;
    let mut bits = list(directory, 258, &[1])?;
    let mut count = directory.value(277)?.unwrap_or(1);
    if planar && extra.iter().all(|&kind| kind == 0) {
        bits.truncate(bits.len().saturating_sub(extra.len()));
        count = count.saturating_sub(extra.len() as u64);
        extra.clear();
    }
    if count == 0 || count > MAX_SAMPLES as u64 {
        return unsupported(format!("{count} samples a pixel (tag 277)"));
    }
    let count = count as usize;
    bits.truncate(count);
    if let [one] = bits[..] {
        bits.resize(count, one);
    }
    if bits.len() != count {
        let detail = format!("tag 258 has {} values for {count} samples", bits.len());
        return Err(Error::corrupt(FORMAT, detail));
    }
    Ok((bits, extra))
}

fn kind(photometric: u64, bits: &[u64], extra: &[u64], big_endian: bool) -> Option<Kind> {
    let zeros = |from: usize| extra.get(from..).is_some_and(|e| e.iter().all(|&v| v == 0));
    let bytes = bits.first() == Some(&8);
    Some(match (photometric, bits, extra) {
        (0 | 1, [1 | 2 | 4 | 8], []) => Kind::Gray {
            inverted: photometric == 0,
        },
        (1, [8, 8], [0 | 2]) => Kind::Gray { inverted: false },
        (1, [16], []) => Kind::Gray16,
        (0, [16], []) if !big_endian => Kind::Gray16,
        (2, [8, 8, 8] | [16, 16, 16], []) => Kind::Rgb,
        (2, [8, 8, 8, 8] | [16, 16, 16, 16], []) => Kind::Rgb,
        (2, [16, 16, 16, 16], [0 | 2]) => Kind::Rgb,
        (2, [8, 8, 8, 8], [999]) => Kind::Rgb,
        (2, _, [kind, ..]) if bytes && bits.len() == 3 + extra.len() && zeros(1) => match kind {
            0 | 2 => Kind::Rgb,
            1 => Kind::Premultiplied,
            _ => return None,
        },
        (3, [1 | 2 | 4 | 8], []) | (3, [8, 8], [0 | 2]) => Kind::Palette,
        (5, [16, 16, 16, 16], []) => Kind::Cmyk,
        (5, _, _) if bytes && bits.len() == 4 + extra.len() && zeros(0) => Kind::Cmyk,
        _ => return None,
    })
}

impl Layout {
    pub fn new(directory: &Directory) -> Result<Self> {
        let (width, height) = dimensions(directory)?;
        let planar = directory.values(284, false)?.and_then(|v| v.get(0)) == Some(2);
        let photometric = photometric(directory)?;
        let mut formats = list(directory, 339, &[1])?;
        formats.dedup();
        if directory.value(266)?.unwrap_or(1) != 1 {
            return unsupported("reversed bit order (tag 266, FillOrder)".to_owned());
        }
        let (bits, extra) = samples(directory, planar)?;
        let signed_bytes = (photometric, &formats[..], &bits[..]) == (1, &[2], &[8]);
        if formats != [1] && !signed_bytes {
            return unsupported(format!(
                "sample format {formats:?} (signed, floating point or complex; tag 339)"
            ));
        }
        let big_endian = directory.file.big_endian;
        let same = bits.iter().all(|b| bits.first() == Some(b));
        let Some(kind) = kind(photometric, &bits, &extra, big_endian).filter(|_| same) else {
            return unsupported(format!(
                "photometric interpretation {photometric} (tag 262) with samples of {bits:?} bits \
                 (tag 258), extra samples {extra:?} (tag 338)"
            ));
        };
        let colors = match photometric {
            2 | 6 | 8 => 3,
            5 => 4,
            _ => 1,
        };
        Ok(Self {
            // The limits keep both within i32.
            width: width as usize,
            height: height as usize,
            kind,
            bits: bits.first().map_or(0, |&b| b as usize),
            samples: bits.len(),
            planar,
            counted: colors + extra.len(),
            straight: matches!(extra.first(), Some(2 | 999)),
            big_endian,
        })
    }

    /// Whether Pillow maps the pixels into memory as they are, when they lie in one piece.
    pub fn mappable(&self) -> bool {
        let samples = match (self.kind, self.bits) {
            (Kind::Gray { inverted: false } | Kind::Palette, 8) | (Kind::Gray16, _) => 1,
            (Kind::Rgb | Kind::Cmyk, 8) => 4,
            _ => return false,
        };
        self.samples == samples && (self.kind != Kind::Rgb || self.straight || self.counted == 3)
    }

    /// Bytes of a pixel as it is kept.
    pub fn kept(&self) -> usize {
        match self.kind {
            Kind::Gray { .. } | Kind::Gray16 | Kind::Palette => 1,
            Kind::Rgb | Kind::Premultiplied => 3,
            Kind::Cmyk => 4,
        }
    }

    /// Bytes of a row of `width` pixels of `samples` samples.
    pub fn row(&self, width: usize, samples: usize) -> Option<usize> {
        Some(width.checked_mul(self.bits * samples)?.div_ceil(8))
    }

    /// Unpacks a row of all samples to as many pixels as `out` holds.
    pub fn unpack(&self, row: &[u8], out: &mut [u8]) {
        let size = (self.bits / 8).max(1);
        let high = if self.big_endian { 0 } else { size - 1 };
        let pixels = row.chunks_exact(self.samples * size);
        match self.kind {
            Kind::Gray { .. } | Kind::Palette if self.bits < 8 => {
                let scale = match self.kind {
                    Kind::Palette => 1,
                    _ => 255 / ((1u16 << self.bits) - 1) as u8,
                };
                unpack(row, self.bits as u8, scale, out);
            }
            Kind::Gray16 => {
                for (out, pixel) in out.iter_mut().zip(pixels) {
                    *out = if pixel[high] == 0 {
                        pixel[1 - high]
                    } else {
                        255
                    };
                }
            }
            Kind::Rgb if (self.samples, size) == (3, 1) => out.copy_from_slice(&row[..out.len()]),
            Kind::Premultiplied => {
                for (out, pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                    *out = unpremultiplied(pixel);
                }
            }
            _ => {
                let kept = self.kept();
                for (out, pixel) in out.chunks_exact_mut(kept).zip(pixels) {
                    for (out, sample) in out.iter_mut().zip(pixel.chunks_exact(size)) {
                        *out = sample[high];
                    }
                }
            }
        }
        if self.kind == (Kind::Gray { inverted: true }) {
            out.iter_mut().for_each(|v| *v ^= 255);
        }
    }

    /// Unpacks a row of the samples of one plane into that of pixels of `kept` bytes.
    pub fn unpack_plane(&self, row: &[u8], plane: usize, out: &mut [u8]) {
        let size = (self.bits / 8).max(1);
        let high = if self.big_endian { 0 } else { size - 1 };
        for (out, sample) in out
            .chunks_exact_mut(self.kept())
            .zip(row.chunks_exact(size))
        {
            out[plane] = sample[high];
        }
    }
}

/// Pillow's "RGBa": colours divided by their alpha, cut to an integer.
fn unpremultiplied(pixel: &[u8]) -> [u8; 3] {
    let alpha = u32::from(pixel[3]);
    [pixel[0], pixel[1], pixel[2]].map(|v| match alpha {
        0 => 0,
        255 => v,
        _ => (u32::from(v) * 255 / alpha).min(255) as u8,
    })
}
