//! WebP by libwebp: lossy, lossless, with alpha (dropped), the first frame of an animation.
//!
//! Pillow's `WebPImagePlugin` hands every file to `WebPAnimDecoder` and takes the canvas after the first
//! frame, which is that frame on a canvas of zeros. Chunks that the header only announces may be missing.

mod ffi;

use super::bytes::{array, u16_le, u32_le};
use super::raster::{Raster, Samples};
use crate::memory::filled;
use crate::{Error, Format, Limits, Result};
use ffi::{CANVAS_BYTES, Container};

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
    // Said first, because libwebp does not say why it refuses a file.
    let claimed = u32_le(bytes, 4).map_or(0, |len| u64::from(len) + 8);
    if claimed > bytes.len() as u64 {
        let detail = format!("{} bytes of {claimed}", bytes.len());
        return Err(Error::truncated(FORMAT, detail));
    }
    let announced = size(bytes)?;
    limits.check_memory(FORMAT, memory(bytes, announced.0 * announced.1))?;
    let Some(container) = Container::new(bytes) else {
        return Err(Error::corrupt(FORMAT, "libwebp refuses its chunks"));
    };
    let (width, height) = container.size();
    if (u64::from(width), u64::from(height)) != announced {
        let detail = format!("a canvas of {width}x{height}, not as in the first chunk");
        return Err(Error::corrupt(FORMAT, detail));
    }
    let pixels = width as usize * height as usize;
    let mut data = filled(pixels * CANVAS_BYTES, 0)?;
    if container.first_frame(&mut data).is_none() {
        let detail = "libwebp cannot decode the first frame, or has no memory for it";
        return Err(Error::corrupt(FORMAT, detail));
    }
    drop_alpha(&mut data);
    Ok(Raster {
        width,
        height,
        samples: Samples::Rgb(data),
    })
}

/// RGBA to RGB in place: a pixel never stands behind where it was.
fn drop_alpha(data: &mut Vec<u8>) {
    let pixels = data.len() / CANVAS_BYTES;
    for i in 0..pixels {
        let [r, g, b] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
        data[3 * i..3 * i + 3].copy_from_slice(&[r, g, b]);
    }
    data.truncate(3 * pixels);
}

/// Most bytes that the canvas and libwebp can take for `pixels`.
///
/// The canvas has 4 bytes a pixel, a lossless frame 4 more; a lossy one an alpha of 1, and 4 while that is
/// decoded. A lossless picture or alpha plane also brings up to 65,536 groups of
/// prefix codes, one for 16 pixels at most, each of 5,004 table entries and a header of 600 bytes
/// (`vp8l_dec.c`: `kTableSize`, `HTreeGroup`); over 1,000 they must all be used, which costs a file more
/// than a byte a group.
fn memory(bytes: &[u8], pixels: u64) -> u64 {
    const ROWS: u64 = 4 << 20;
    const GROUP: u64 = 5004 * 4 + 600;
    let lossless = |name: &[u8]| name == b"VP8L" || name == b"ALPH";
    let groups = if bytes.windows(4).any(lossless) {
        let paid = (bytes.len() as u64).max(1000);
        (pixels / 16 + 1).min(65_536).min(paid)
    } else {
        0
    };
    9 * pixels + GROUP * groups + ROWS
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
