//! QOI, by the rules of Pillow's `QoiImagePlugin`: runs are not remembered, as its definition would have it, and neither
//! the colour space nor the end marker is looked at.

use super::bytes::u32_be;
use super::raster::{Raster, Samples};
use crate::memory::reserved;
use crate::{Error, Format, Limits, Result};

const FORMAT: Format = Format::Qoi;

/// Length of the header.
const HEADER: usize = 14;

/// Whether Pillow takes this for a QOI, and not before that for a brush of GIMP's of one or two pixels across.
pub(super) fn accepts(bytes: &[u8]) -> bool {
    let brush = matches!(u32_be(bytes, 4), Some(1 | 2)) && matches!(u32_be(bytes, 16), Some(1 | 4));
    bytes.starts_with(b"qoif") && !brush
}

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    let sides = u32_be(bytes, 4).zip(u32_be(bytes, 8));
    match (sides, bytes.get(12)) {
        (Some((width, height)), Some(_)) => Ok((width.into(), height.into())),
        _ => Err(Error::truncated(FORMAT, "the file ends inside the header")),
    }
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let (width, height) = size(bytes)?;
    limits.check_memory(FORMAT, 3 * width * height)?;
    let pixels = width as usize * height as usize;
    let mut out = reserved(pixels * 3)?;
    let mut pixel = [0, 0, 0, 255];
    let mut seen = [[0u8; 4]; 64];
    let mut data = bytes.get(HEADER..).unwrap_or_default();
    while out.len() < pixels * 3 {
        let Some((step, rest)) = Step::read(data, pixel) else {
            let have = out.len() / 3;
            return Err(Error::truncated(
                FORMAT,
                format!("{have} pixels of {pixels}"),
            ));
        };
        data = rest;
        match step {
            Step::Run(count) => {
                let count = count.min(pixels - out.len() / 3);
                let [r, g, b, _] = pixel;
                out.extend(std::iter::repeat_n([r, g, b], count).flatten());
                continue;
            }
            Step::Seen(at) => pixel = seen[at],
            Step::Pixel(new) => pixel = new,
        }
        let [r, g, b, a] = pixel.map(usize::from);
        seen[(r * 3 + g * 5 + b * 7 + a * 11) % 64] = pixel;
        out.extend_from_slice(&pixel[..3]);
    }
    Ok(Raster {
        width: width as u32,
        height: height as u32,
        samples: Samples::Rgb(out),
    })
}

/// What one chunk says.
enum Step {
    /// The same pixel, so many times more.
    Run(usize),
    /// The pixel remembered at this place.
    Seen(usize),
    /// Another pixel: red, green, blue, alpha.
    Pixel([u8; 4]),
}

impl Step {
    /// The first chunk, after `before`, and what follows it.
    fn read(data: &[u8], before: [u8; 4]) -> Option<(Self, &[u8])> {
        let (&tag, rest) = data.split_first()?;
        let [r, g, b, a] = before;
        let low = tag & 63;
        Some(match tag {
            0xfe => {
                let (&[r, g, b], rest) = rest.split_first_chunk()?;
                (Self::Pixel([r, g, b, a]), rest)
            }
            0xff => {
                let (&pixel, rest) = rest.split_first_chunk()?;
                (Self::Pixel(pixel), rest)
            }
            0..64 => (Self::Seen(usize::from(low)), rest),
            64..128 => {
                let add = |v: u8, shift: u8| v.wrapping_add(low >> shift & 3).wrapping_sub(2);
                (Self::Pixel([add(r, 4), add(g, 2), add(b, 0), a]), rest)
            }
            128..192 => {
                let (&second, rest) = rest.split_first()?;
                let green = low.wrapping_sub(32);
                let add =
                    |v: u8, nibble: u8| v.wrapping_add(green).wrapping_add(nibble).wrapping_sub(8);
                let pixel = [
                    add(r, second >> 4),
                    g.wrapping_add(green),
                    add(b, second & 15),
                    a,
                ];
                (Self::Pixel(pixel), rest)
            }
            _ => (Self::Run(usize::from(low) + 1), rest),
        })
    }
}
