//! WebP: lossy, lossless, with alpha (dropped), the first frame of an animation.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::bytes::{array, u16_le, u32_le};
use super::raster::{Raster, Samples};
use crate::{Error, Format, Limits, Result};

const FORMAT: Format = Format::WebP;

/// The canvas size, from the first chunk.
pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    let size = match bytes.get(12..16) {
        Some(b"VP8 ") => key_frame_size(bytes),
        Some(b"VP8L") => u32_le(bytes, 21).map(|bits| {
            (
                u64::from(bits & 0x3fff) + 1,
                u64::from((bits >> 14) & 0x3fff) + 1,
            )
        }),
        Some(b"VP8X") => array(bytes, 24).map(|[a, b, c, d, e, f]: [u8; 6]| {
            let side = |l, m, h| u64::from(u32::from_le_bytes([l, m, h, 0])) + 1;
            (side(a, b, c), side(d, e, f))
        }),
        Some(_) => return Err(Error::corrupt(FORMAT, "the first chunk is no image")),
        None => None,
    };
    size.ok_or_else(|| Error::truncated(FORMAT, "the file ends inside the header"))
}

fn key_frame_size(bytes: &[u8]) -> Option<(u64, u64)> {
    let side = |at| Some(u64::from(u16_le(bytes, at)? & 0x3fff));
    Some((side(26)?, side(28)?))
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    // libwebp demands the whole container before it decodes anything.
    let claimed = u32_le(bytes, 4).map_or(0, |len| len as usize + 8);
    if claimed > bytes.len() {
        let detail = format!("{} bytes of {claimed}", bytes.len());
        return Err(Error::truncated(FORMAT, detail));
    }
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(from_webp)?;
    let (width, height) = decoder.dimensions();
    limits.check_size(FORMAT, u64::from(width), u64::from(height))?;
    // Canvas, a frame and the planes: about 4 bytes a pixel each.
    limits.check_memory(FORMAT, 12 * u64::from(width) * u64::from(height))?;
    decoder.set_memory_limit(usize::try_from(limits.max_memory).unwrap_or(usize::MAX));
    let Some(len) = decoder.output_buffer_size() else {
        return Err(Error::corrupt(
            FORMAT,
            "the image does not fit the address space",
        ));
    };
    let mut data = vec![0; len];
    if decoder.is_animated() {
        decoder.read_frame(&mut data).map_err(from_webp)?;
    } else {
        decoder.read_image(&mut data).map_err(from_webp)?;
    }
    if decoder.has_alpha() {
        drop_alpha(&mut data);
    }
    Ok(Raster {
        width,
        height,
        samples: Samples::Rgb(data),
    })
}

/// RGBA to RGB in place.
fn drop_alpha(data: &mut Vec<u8>) {
    let pixels = data.len() / 4;
    for pixel in 1..pixels {
        data.copy_within(pixel * 4..pixel * 4 + 3, pixel * 3);
    }
    data.truncate(pixels * 3);
}

fn from_webp(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::truncated(FORMAT, "the data ends inside the image")
        }
        other => Error::corrupt(FORMAT, other.to_string()),
    }
}

/// The `EXIF` chunk, a small TIFF.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    loop {
        let name = bytes.get(at..at + 4)?;
        let len = usize::try_from(u32_le(bytes, at + 4)?).ok()?;
        let end = at.checked_add(8)?.checked_add(len)?;
        if name == b"EXIF" {
            let payload = bytes.get(at + 8..end)?;
            return Some(payload.strip_prefix(b"Exif\0\0").unwrap_or(payload));
        }
        at = end.checked_add(len % 2)?;
    }
}
