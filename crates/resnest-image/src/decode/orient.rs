//! The eight orientations of TIFF and EXIF.

use crate::Image;

/// Turns an image upright; `orientation` is the tag's value, anything outside 2..=8 leaves it as it is.
pub(super) fn apply(image: Image, orientation: u16) -> Image {
    let (width, height) = (image.width as usize, image.height as usize);
    let transposed = matches!(orientation, 5..=8);
    // (x, y) of the result to (column, row) of the source
    let source: fn(usize, usize, usize, usize) -> (usize, usize) = match orientation {
        2 => |x, y, w, _| (w - 1 - x, y),
        3 => |x, y, w, h| (w - 1 - x, h - 1 - y),
        4 => |x, y, _, h| (x, h - 1 - y),
        5 => |x, y, _, _| (y, x),
        6 => |x, y, _, h| (y, h - 1 - x),
        7 => |x, y, w, h| (w - 1 - y, h - 1 - x),
        8 => |x, y, w, _| (w - 1 - y, x),
        _ => return image,
    };
    let channels = usize::from(image.channels);
    let (out_width, out_height) = if transposed {
        (height, width)
    } else {
        (width, height)
    };
    let mut data = Vec::with_capacity(image.data.len());
    for y in 0..out_height {
        for x in 0..out_width {
            let (column, row) = source(x, y, width, height);
            let at = (row * width + column) * channels;
            data.extend_from_slice(&image.data[at..at + channels]);
        }
    }
    Image {
        width: out_width as u32,
        height: out_height as u32,
        channels: image.channels,
        data,
    }
}
