//! JPEG, by a Rust port of the libjpeg-turbo that Pillow links.

#[allow(dead_code, reason = "the decoder that calls them is being written")]
mod kernels;

use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use crate::decode::bytes::u16_be;
use crate::decode::raster::{Raster, Samples};
use crate::{Error, Format, Limits, Result};

/// Scans accepted in one file; real progressive files have about ten.
const MAX_SCANS: usize = 500;

const FORMAT: Format = Format::Jpeg;

/// The frame header, and where the first scan starts.
struct Frame {
    width: u64,
    height: u64,
    /// Samples of the component planes, padded to whole MCUs.
    plane_samples: u64,
    components: u8,
    /// The coefficients of all components are kept until the last scan.
    buffered: bool,
    /// Byte after the first SOS marker.
    scan: usize,
}

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    let frame = frame(bytes)?;
    Ok((frame.width, frame.height))
}

/// A marker segment: its code, its payload, and the byte after it.
struct Segment<'a> {
    code: u8,
    payload: &'a [u8],
    end: usize,
}

/// The segment at or after `at`, skipping what lies between segments as Pillow does.
fn segment(bytes: &[u8], mut at: usize) -> Option<Segment<'_>> {
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xff)?;
        let code = *bytes.get(at + 1)?;
        match code {
            0xff => at += 1,
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            0xd9 => return None,
            _ => {
                let end = at + 2 + usize::from(u16_be(bytes, at + 2)?);
                let payload = bytes.get(at + 4..end)?;
                return Some(Segment { code, payload, end });
            }
        }
    }
}

fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let mut at = 2;
    std::iter::from_fn(move || {
        let segment = segment(bytes, at)?;
        at = segment.end;
        Some(segment)
    })
}

fn frame(bytes: &[u8]) -> Result<Frame> {
    let mut frame = None;
    for Segment { code, payload, end } in segments(bytes) {
        match code {
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => frame = Some(start_of_frame(code, payload)?),
            0xda => {
                let Some(mut frame) = frame else {
                    return Err(Error::corrupt(FORMAT, "a scan without a frame header"));
                };
                let in_scan = u64::from(payload.first().copied().unwrap_or(0));
                frame.buffered |= in_scan < u64::from(frame.components);
                return Ok(Frame { scan: end, ..frame });
            }
            _ => {}
        }
    }
    Err(Error::truncated(
        FORMAT,
        "the file ends before the first scan",
    ))
}

fn start_of_frame(code: u8, payload: &[u8]) -> Result<Frame> {
    let short = || Error::corrupt(FORMAT, "the frame header is too short");
    let [precision, h1, h0, w1, w0, components] = *payload.first_chunk().ok_or_else(short)?;
    if !matches!(code, 0xc0..=0xc2 | 0xc9 | 0xca) {
        return Err(Error::unsupported(
            FORMAT,
            format!("frame type SOF{}", code - 0xc0),
        ));
    }
    if precision != 8 {
        return Err(Error::unsupported(
            FORMAT,
            format!("{precision}-bit samples"),
        ));
    }
    if !matches!(components, 1 | 3 | 4) {
        return Err(Error::unsupported(
            FORMAT,
            format!("{components} components"),
        ));
    }
    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
    let factors = payload
        .get(6..6 + 3 * usize::from(components))
        .ok_or_else(short)?;
    let factors: Vec<(u64, u64)> = factors
        .chunks_exact(3)
        .map(|c| {
            (
                u64::from(c[1] >> 4).clamp(1, 4),
                u64::from(c[1] & 15).clamp(1, 4),
            )
        })
        .collect();
    let (width, height) = (u64::from(width), u64::from(height));
    let max_h = factors.iter().map(|f| f.0).max().unwrap_or(1);
    let max_v = factors.iter().map(|f| f.1).max().unwrap_or(1);
    let mcus = width.div_ceil(8 * max_h) * height.div_ceil(8 * max_v);
    let plane_samples = mcus * factors.iter().map(|f| f.0 * f.1 * 64).sum::<u64>();
    let buffered = matches!(code, 0xc2 | 0xca);
    Ok(Frame {
        width,
        height,
        plane_samples,
        components,
        buffered,
        scan: 0,
    })
}

impl Frame {
    /// Planes (1 byte a sample), coefficients (2 bytes) where they must all be kept, and the output.
    fn memory(&self) -> u64 {
        let pixels = self.width * self.height;
        let output = match self.components {
            4 => 4 + 3,
            1 => 1 + 3,
            _ => 3,
        };
        pixels * output + self.plane_samples * if self.buffered { 3 } else { 1 }
    }

    fn check_complete(&self, bytes: &[u8]) -> Result<()> {
        // FF D9 cannot occur inside entropy-coded data, so any of them after the first scan is the end
        // that libjpeg looks for; Pillow calls a file without it truncated.
        let scans = bytes.get(self.scan..).unwrap_or_default();
        if scans.windows(2).rev().any(|pair| pair == b"\xff\xd9") {
            return Ok(());
        }
        Err(Error::truncated(FORMAT, "there is no end-of-image marker"))
    }
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let frame = frame(bytes)?;
    limits.check_memory(FORMAT, frame.memory())?;
    frame.check_complete(bytes)?;
    let format = match frame.components {
        1 => PixelFormat::Grayscale,
        4 => PixelFormat::Cmyk,
        _ => PixelFormat::Rgb,
    };
    let mut decoder = Decoder::new_with_limits(bytes, turbo_limits(limits)).map_err(from_turbo)?;
    decoder.set_output_format(format);
    let image = decoder.decode_image().map_err(from_turbo)?;
    check_warnings(&image)?;
    let samples = match format {
        PixelFormat::Grayscale => Samples::Luma(image.data),
        PixelFormat::Cmyk => Samples::Cmyk(inverted(image.data)),
        _ => Samples::Rgb(image.data),
    };
    Ok(Raster {
        width: frame.width as u32,
        height: frame.height as u32,
        samples,
    })
}

fn check_warnings(image: &libjpeg_turbo_rs::Image) -> Result<()> {
    match image.warnings.first() {
        Some(warning) => Err(Error::corrupt(FORMAT, warning.to_string())),
        None => Ok(()),
    }
}

/// Pillow takes every four-component JPEG for an Adobe one, whose inks are stored inverted.
fn inverted(mut inks: Vec<u8>) -> Vec<u8> {
    inks.iter_mut().for_each(|ink| *ink = !*ink);
    inks
}

fn turbo_limits(limits: &Limits) -> DecodeLimits {
    DecodeLimits {
        max_pixels: limits.max_pixels,
        max_scans: MAX_SCANS,
        max_memory: Some(limits.max_memory),
        ..DecodeLimits::default()
    }
}

fn from_turbo(error: JpegError) -> Error {
    match error {
        JpegError::UnexpectedEof => Error::truncated(FORMAT, "the data ends inside a scan"),
        JpegError::Unsupported(detail) => Error::unsupported(FORMAT, detail),
        other => Error::corrupt(FORMAT, other.to_string()),
    }
}

/// The EXIF block, a small TIFF.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    segments(bytes)
        .take_while(|segment| segment.code != 0xda)
        .filter(|segment| segment.code == 0xe1)
        .find_map(|segment| segment.payload.strip_prefix(b"Exif\0\0"))
}
