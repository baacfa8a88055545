//! PNG as Pillow reads it: its walk over the chunks (`chunks.rs`), its rule for when the picture is
//! complete (`data.rs`), its reading of each colour type (here). No gamma, no compositing, 16 bits cut
//! its way.
//!
//! Pillow checks the checksums of chunks before the pixels and of none after, takes rows until there are
//! enough, and then looks at the names of what follows. No crate can be told all of that.

mod chunks;
mod data;
mod filter;
mod info;

use super::bytes::{u32_be, unpack};
use super::raster::{Palette, Raster, Samples};
use crate::memory::filled;
use crate::{Error, Format, Limits, Result};
use chunks::Start;

const FORMAT: Format = Format::Png;

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A pair of bit depth and colour type that Pillow reads, by what a row of it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Grey of 1, 2, 4 or 8 bits.
    Gray(u8),
    /// Grey of 16 bits, which Pillow clips to a byte.
    Gray16,
    /// Palette indices of 1, 2, 4 or 8 bits.
    Indexed(u8),
    /// Samples of a byte, the first of which are kept; or of two, whose high byte is.
    Samples { channels: u8, kept: u8, deep: bool },
}

impl Mode {
    /// By IHDR's bytes 8 and 9; nothing for pairs that PNG does not have.
    fn new(depth: u8, color: u8) -> Option<Self> {
        let samples = |channels, kept| {
            Some(Self::Samples {
                channels,
                kept,
                deep: depth == 16,
            })
        };
        match (depth, color) {
            (1 | 2 | 4 | 8, 0) => Some(Self::Gray(depth)),
            (16, 0) => Some(Self::Gray16),
            (1 | 2 | 4 | 8, 3) => Some(Self::Indexed(depth)),
            (8 | 16, 2) => samples(3, 3),
            (8 | 16, 4) => samples(2, 1),
            (8 | 16, 6) => samples(4, 3),
            _ => None,
        }
    }

    fn bits(self) -> usize {
        match self {
            Self::Gray(bits) | Self::Indexed(bits) => usize::from(bits),
            Self::Gray16 => 16,
            Self::Samples { channels, deep, .. } => {
                usize::from(channels) << (3 + usize::from(deep))
            }
        }
    }

    /// Bytes a pixel of what is kept.
    fn kept(self) -> usize {
        match self {
            Self::Samples { kept, .. } => usize::from(kept),
            _ => 1,
        }
    }

    /// Unpacks a row to `out`, as many pixels as fit.
    fn unpack(self, row: &[u8], out: &mut [u8]) {
        match self {
            Self::Gray(8) | Self::Indexed(8) => out.copy_from_slice(&row[..out.len()]),
            Self::Gray(bits) => unpack(row, bits, 255 / ((1u16 << bits) - 1) as u8, out),
            Self::Indexed(bits) => unpack(row, bits, 1, out),
            Self::Gray16 => {
                for (out, &[high, low]) in out.iter_mut().zip(row.as_chunks::<2>().0) {
                    *out = if high == 0 { low } else { 255 };
                }
            }
            Self::Samples {
                channels,
                kept,
                deep,
            } => match (channels, kept, deep) {
                (3, _, false) => out.copy_from_slice(&row[..out.len()]),
                (3, _, true) => pick::<6, 3>(row, [0, 2, 4], out),
                (4, _, false) => pick::<4, 3>(row, [0, 1, 2], out),
                (4, _, true) => pick::<8, 3>(row, [0, 2, 4], out),
                (_, _, false) => pick::<2, 1>(row, [0], out),
                (_, _, true) => pick::<4, 1>(row, [0], out),
            },
        }
    }
}

/// The bytes at `offsets` of every `SIZE`: drops alpha, and the low byte of big-endian samples.
fn pick<const SIZE: usize, const KEPT: usize>(row: &[u8], offsets: [usize; KEPT], out: &mut [u8]) {
    let pixels = row.as_chunks::<SIZE>().0;
    for (out, pixel) in out.as_chunks_mut::<KEPT>().0.iter_mut().zip(pixels) {
        *out = offsets.map(|at| pixel[at]);
    }
}

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    let start = Start::read(bytes)?;
    Ok((u64::from(start.width), u64::from(start.height)))
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let start = Start::read(bytes)?;
    let (width, height, mode) = (start.width, start.height, start.mode);
    let pixels = u64::from(width) * u64::from(height);
    // What is kept, and the RGB made of it if it is one byte; four rows and one more unpacked; what is inflated at
    // once, and zlib's window.
    let rows = u64::from(width) * (4 * mode.bits().div_ceil(8) + mode.kept()) as u64;
    limits.check_memory(FORMAT, 4 * pixels + rows + (256 << 10))?;
    let mut data = filled(pixels as usize * mode.kept(), 0)?;
    let palette = start.palette;
    start.read_pixels(&mut data)?;
    let samples = match mode {
        Mode::Gray(_) | Mode::Gray16 => Samples::Luma(data),
        Mode::Samples { kept: 1, .. } => Samples::Luma(data),
        Mode::Samples { .. } => Samples::Rgb(data),
        Mode::Indexed(_) => Samples::Palette(data, colors(palette)?),
    };
    Ok(Raster {
        width,
        height,
        samples,
    })
}

fn colors(palette: Option<&[u8]>) -> Result<Box<Palette>> {
    match palette {
        None => Err(Error::unsupported(
            FORMAT,
            "an indexed image without a palette",
        )),
        Some(colors) if colors.len() / 3 > 256 => Err(Error::corrupt(
            FORMAT,
            format!("a palette of {} colours", colors.len() / 3),
        )),
        Some(colors) => Ok(Palette::from_rgb(colors)),
    }
}

/// The `eXIf` chunk, a small TIFF.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 8;
    loop {
        let len = usize::try_from(u32_be(bytes, at)?).ok()?;
        let name = bytes.get(at + 4..at + 8)?;
        let end = at.checked_add(8)?.checked_add(len)?;
        if name == b"eXIf" {
            return bytes.get(at + 8..end);
        }
        at = end.checked_add(4)?;
    }
}
