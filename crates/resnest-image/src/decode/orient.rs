//! The eight orientations of TIFF and EXIF.

use crate::memory::reserved;
use crate::{Image, Result};

/// Turns an image upright; `orientation` is the tag's value, anything outside 2..=8 leaves it as it is.
pub(super) fn apply(mut image: Image, orientation: u16) -> Result<Image> {
    let size = (image.width, image.height);
    let channels = usize::from(image.channels);
    (image.width, image.height) = turn(&mut image.data, size, channels, orientation)?;
    Ok(image)
}

/// Turns pixels of `bytes` bytes upright; their new (width, height).
pub(super) fn turn(
    data: &mut Vec<u8>,
    size: (u32, u32),
    bytes: usize,
    orientation: u16,
) -> Result<(u32, u32)> {
    let (width, height) = (size.0 as usize, size.1 as usize);
    // (x, y) of the result to (column, row) of the source
    let source: fn(usize, usize, usize, usize) -> (usize, usize) = match orientation {
        2 => |x, y, w, _| (w - 1 - x, y),
        3 => |x, y, w, h| (w - 1 - x, h - 1 - y),
        4 => |x, y, _, h| (x, h - 1 - y),
        5 => |x, y, _, _| (y, x),
        6 => |x, y, _, h| (y, h - 1 - x),
        7 => |x, y, w, h| (w - 1 - y, h - 1 - x),
        8 => |x, y, w, _| (w - 1 - y, x),
        _ => return Ok(size),
    };
    let (out_width, out_height) = match orientation {
        5..=8 => (height, width),
        _ => (width, height),
    };
    let mut turned = reserved(data.len())?;
    for y in 0..out_height {
        for x in 0..out_width {
            let (column, row) = source(x, y, width, height);
            let at = (row * width + column) * bytes;
            turned.extend_from_slice(&data[at..at + bytes]);
        }
    }
    *data = turned;
    Ok((out_width as u32, out_height as u32))
}
