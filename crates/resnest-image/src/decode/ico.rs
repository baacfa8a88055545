//! Windows icons, by the rules of Pillow's `IcoImagePlugin`: the largest picture, of those the one of the fewest colours,
//! and without its mask, which only becomes alpha.

use super::bytes::{u16_le, u32_le};
use super::raster::Raster;
use super::{bmp, png};
use crate::limits::PILLOW_MAX_PIXELS;
use crate::{Error, Format, Limits, Result};

const FORMAT: Format = Format::Ico;

pub(super) const PREFIX: &[u8] = b"\0\0\x01\0";

/// One line of the directory.
struct Entry {
    /// Bits a pixel, or 0.
    bits: u16,
    len: usize,
    /// Where the picture begins in the file.
    at: usize,
    /// What the pictures are sorted by.
    pixels: u32,
    depth: u32,
}

impl Entry {
    fn read(line: &[u8; 16]) -> Self {
        let side = |v: u8| if v == 0 { 256 } else { u32::from(v) };
        let bits = u16_le(line, 6).unwrap_or(0);
        let long_word = |at| u32_le(line, at).unwrap_or(0) as usize;
        let depth = match (bits, line[2]) {
            // One colour needs no bits, which is as good as nothing said.
            (0, 0 | 1) => 256,
            (0, colors) => u32::from(colors).next_power_of_two().ilog2(),
            (bits, _) => u32::from(bits),
        };
        Self {
            bits,
            len: long_word(8),
            at: long_word(12),
            pixels: side(line[0]) * side(line[1]),
            depth,
        }
    }
}

/// The picture that is shown. All lines of the directory have to be there.
fn entry(bytes: &[u8]) -> Result<Entry> {
    let short = || Error::truncated(FORMAT, "the file ends inside the directory");
    let count = usize::from(u16_le(bytes, 4).ok_or_else(short)?);
    let lines = bytes.get(6..6 + 16 * count).ok_or_else(short)?;
    let entries = lines.as_chunks::<16>().0.iter().map(Entry::read);
    // The first of the best, as a stable sort has it.
    let best = entries.min_by_key(|entry| (std::cmp::Reverse(entry.pixels), entry.depth));
    best.ok_or_else(|| Error::corrupt(FORMAT, "no pictures"))
}

enum Picture<'a> {
    Png(&'a [u8]),
    Bitmap(Box<bmp::Bitmap<'a>>),
}

impl<'a> Picture<'a> {
    fn new(bytes: &'a [u8], entry: &Entry) -> Result<Self> {
        let data = bytes.get(entry.at..).unwrap_or_default();
        if data.starts_with(png::SIGNATURE) {
            return Ok(Self::Png(data));
        }
        Ok(Self::Bitmap(Box::new(bmp::Bitmap::of_icon(
            bytes, entry.at,
        )?)))
    }

    fn size(&self) -> Result<(u64, u64)> {
        match self {
            Self::Png(data) => png::size(data),
            Self::Bitmap(bitmap) => Ok((bitmap.width, bitmap.height)),
        }
    }
}

/// What went wrong in the picture, as the icon's.
fn inside(error: Error) -> Error {
    match error {
        Error::Truncated { format, detail } => {
            Error::truncated(FORMAT, format!("its {format}: {detail}"))
        }
        Error::Corrupt { format, detail } => {
            Error::corrupt(FORMAT, format!("its {format}: {detail}"))
        }
        Error::Unsupported { format, detail } => {
            Error::unsupported(FORMAT, format!("its {format}: {detail}"))
        }
        Error::TooMuchMemory { needed, limit, .. } => Error::TooMuchMemory {
            format: FORMAT,
            needed,
            limit,
        },
        other => other,
    }
}

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    Picture::new(bytes, &entry(bytes)?)
        .and_then(|picture| picture.size())
        .map_err(inside)
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let entry = entry(bytes)?;
    match Picture::new(bytes, &entry).map_err(inside)? {
        Picture::Png(data) => png::decode(data, limits).map_err(inside),
        Picture::Bitmap(bitmap) => {
            // Pillow holds picture and mask together against its limit.
            if 2 * bitmap.width * bitmap.height > PILLOW_MAX_PIXELS {
                let detail = "picture and mask are more pixels than Pillow reads";
                return Err(Error::corrupt(FORMAT, detail));
            }
            let raster = bmp::decode_bitmap(&bitmap, limits).map_err(inside)?;
            check_mask(bytes, &entry, &bitmap)?;
            Ok(raster)
        }
    }
}

/// Alpha is dropped, but Pillow reads it: of 32 bits from the pixels, else from the end of the entry.
fn check_mask(bytes: &[u8], entry: &Entry, bitmap: &bmp::Bitmap<'_>) -> Result<()> {
    let (width, height) = (bitmap.width as usize, bitmap.height as usize);
    let there = match entry.bits {
        32 => bytes.len().saturating_sub(bitmap.start) >= width * height * 4,
        _ => {
            let stride = width.next_multiple_of(32) / 8;
            let end = entry.at.checked_add(entry.len);
            let at = end.and_then(|end| end.checked_sub(stride * height));
            // The padding of the last row may be missing.
            let len = stride * (height - 1) + width.div_ceil(8);
            at.is_some_and(|at| bytes.len().saturating_sub(at) >= len)
        }
    };
    match there {
        true => Ok(()),
        false => Err(Error::truncated(FORMAT, "the mask is not all there")),
    }
}
