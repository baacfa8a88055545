//! PNG, with Pillow's reading of each colour type: no gamma, no compositing, 16 bits cut its way.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Transformations};

use super::bytes::{u32_be, unpack};
use super::raster::{Palette, Raster, Samples};
use crate::{Error, Format, Limits, Result};

const FORMAT: Format = Format::Png;

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    if bytes.get(12..16).is_some_and(|name| name != b"IHDR") {
        return Err(Error::corrupt(FORMAT, "the first chunk is not IHDR"));
    }
    match (u32_be(bytes, 16), u32_be(bytes, 20)) {
        (Some(width), Some(height)) => Ok((u64::from(width), u64::from(height))),
        _ => Err(Error::truncated(FORMAT, "the file ends inside the header")),
    }
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let limit = usize::try_from(limits.max_memory).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: limit });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(from_png)?;
    let (width, height) = reader.info().size();
    let Some(len) = reader.output_buffer_size() else {
        return Err(Error::corrupt(
            FORMAT,
            "the image does not fit the address space",
        ));
    };
    // The raw samples and, at most, three bytes a pixel made of them.
    limits.check_memory(
        FORMAT,
        len as u64 + 3 * u64::from(width) * u64::from(height),
    )?;
    let mut data = vec![0; len];
    let output = reader.next_frame(&mut data).map_err(from_png)?;
    data.truncate(output.buffer_size());
    let palette = reader.info().palette.as_deref();
    let samples = samples(
        data,
        output.color_type,
        output.bit_depth,
        width as usize,
        palette,
    )?;
    Ok(Raster {
        width,
        height,
        samples,
    })
}

fn samples(
    data: Vec<u8>,
    color: ColorType,
    depth: BitDepth,
    width: usize,
    palette: Option<&[u8]>,
) -> Result<Samples> {
    let deep = depth == BitDepth::Sixteen;
    Ok(match color {
        ColorType::Grayscale if deep => Samples::Luma(clip16(&data)),
        ColorType::Grayscale => Samples::Luma(gray(data, width, depth)),
        ColorType::GrayscaleAlpha => Samples::Luma(pick(&data, &[0], if deep { 4 } else { 2 })),
        ColorType::Rgb if deep => Samples::Rgb(pick(&data, &[0, 2, 4], 6)),
        ColorType::Rgb => Samples::Rgb(data),
        ColorType::Rgba if deep => Samples::Rgb(pick(&data, &[0, 2, 4], 8)),
        ColorType::Rgba => Samples::Rgb(pick(&data, &[0, 1, 2], 4)),
        ColorType::Indexed => {
            let Some(colors) = palette else {
                return Err(Error::unsupported(
                    FORMAT,
                    "an indexed image without a palette",
                ));
            };
            Samples::Palette(indices(data, width, depth), Palette::from_rgb(colors))
        }
    })
}

/// The bytes at `offsets` of every `size`: drops alpha, and the low byte of big-endian samples.
fn pick(data: &[u8], offsets: &[usize], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / size * offsets.len());
    for pixel in data.chunks_exact(size) {
        out.extend(offsets.iter().map(|&at| pixel[at]));
    }
    out
}

/// Pillow's "I;16" to a byte: clipped, not scaled.
fn clip16(data: &[u8]) -> Vec<u8> {
    data.as_chunks::<2>()
        .0
        .iter()
        .map(|&[high, low]| if high == 0 { low } else { 255 })
        .collect()
}

fn indices(data: Vec<u8>, width: usize, depth: BitDepth) -> Vec<u8> {
    match depth {
        BitDepth::Eight | BitDepth::Sixteen => data,
        packed => unpack(&data, width, packed as u8),
    }
}

fn gray(data: Vec<u8>, width: usize, depth: BitDepth) -> Vec<u8> {
    let scale = match depth {
        BitDepth::One => 255,
        BitDepth::Two => 85,
        BitDepth::Four => 17,
        BitDepth::Eight | BitDepth::Sixteen => return data,
    };
    let mut samples = unpack(&data, width, depth as u8);
    samples.iter_mut().for_each(|v| *v *= scale);
    samples
}

fn from_png(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::truncated(FORMAT, "the data ends inside the image")
        }
        other => Error::corrupt(FORMAT, other.to_string()),
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
