//! JPEG as Pillow 13.0 reads it through libjpeg-turbo 3.2: the same pixels, and refused where it refuses.
//!
//! Two programs have a say. Pillow's `JpegImagePlugin` walks the header (`plugin.rs`) and hands the file to
//! libjpeg in pieces of 64 KiB (`source.rs`); a file that runs out before its last row is refused, and one
//! whose data are merely damaged is read, with what libjpeg makes of it. The rest follows libjpeg
//! and T.81 (ITU-T's JPEG standard): `markers.rs` and `frame.rs` read segments and find sizes; `huffman.rs`,
//! `bits.rs`, `swift.rs`, `sequential.rs`, `progressive.rs` and `arithmetic.rs` decode entropy-coded data;
//! `coefficients.rs` keeps what comes in several scans and `smoothing.rs` estimates what never came;
//! `kernels/` has the inverse transform, upsampling and colour; `lossless.rs` has frames without a
//! transform; `rows.rs` puts it together, `scans.rs` runs
//! it.
//!
//! What libjpeg only warns of is no error here either: Huffman codes that do not exist, runs past a block's
//! end, restart markers that are wrong or missing, data that end at a marker before the interval does (the
//! rest of the interval stays zero), stray bytes between segments. No end of image is needed after the last
//! row of a file of one scan; one of several scans must have it.
//!
//! Refused though Pillow reads them: more than 500 scans, scans that add up to more work than any real
//! file asks for (`scans.rs`), and lossless frames of which a component is missing (Pillow gives what was in memory).

mod arithmetic;
mod arithmetic_states;
mod bits;
mod coefficients;
mod frame;
mod huffman;
mod kernels;
mod lossless;
mod markers;
mod plugin;
mod progressive;
mod rows;
mod scans;
mod sequential;
mod smoothing;
mod source;
mod swift;
mod zigzag;

use self::frame::Frame;
use self::markers::{ScanHeader, Stream};
use self::rows::{Colour, Rows};
use crate::decode::exif;
use crate::decode::raster::{Raster, Samples};
use crate::{Error, Format, Limits, Result};

const FORMAT: Format = Format::Jpeg;

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    let opened = plugin::open(bytes)?;
    Ok((opened.width.into(), opened.height.into()))
}

/// The orientation that the EXIF block or the XMP packet gives.
pub(super) fn orientation(bytes: &[u8]) -> u16 {
    match plugin::open(bytes) {
        Ok(opened) => exif::orientation(opened.exif().as_deref(), opened.xmp),
        Err(_) => 1,
    }
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let opened = plugin::open(bytes)?;
    let mut stream = Stream::new(bytes);
    let scan = stream.read_to_first_scan()?;
    let colour = set_up(&mut stream, &opened)?;
    let pixels = run(&mut stream, scan, colour, limits)?;
    let samples = match colour {
        Colour::Grey => Samples::Luma(pixels),
        Colour::YCbCr | Colour::Rgb => Samples::Rgb(pixels),
        Colour::Cmyk | Colour::Ycck => Samples::Cmyk(inverted(pixels)),
    };
    Ok(Raster {
        width: opened.width.into(),
        height: opened.height.into(),
        samples,
    })
}

/// Finds the frame's sizes and colours.
fn set_up(stream: &mut Stream<'_>, opened: &plugin::Opened<'_>) -> Result<Colour> {
    let Some(frame) = &mut stream.frame else {
        return Err(Error::corrupt(FORMAT, "a scan without a frame header"));
    };
    if frame.coding.lossless && frame.coding.arithmetic {
        let what = "a lossless frame with arithmetic coding";
        return Err(Error::unsupported(FORMAT, what));
    }
    frame.set_up()?;
    let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
    let known = (opened.width.into(), opened.height.into(), opened.layers);
    if (frame.width, frame.height, ids.len() as u8) != known {
        return Err(Error::corrupt(FORMAT, "two headers contradict each other"));
    }
    let lossless = frame.coding.lossless;
    match colour(&ids, stream.saw_jfif, stream.adobe)? {
        // Without a word on colours a lossless frame is RGB.
        Colour::YCbCr if lossless && !stream.saw_jfif && stream.adobe.is_none() => Ok(Colour::Rgb),
        Colour::YCbCr | Colour::Ycck if lossless => Err(Error::unsupported(
            FORMAT,
            "a lossless frame of YCbCr or YCCK",
        )),
        colour => Ok(colour),
    }
}

/// What the components are, by what the file says and libjpeg's guesses (`jdapimin.c`).
fn colour(ids: &[u8], jfif: bool, adobe: Option<u8>) -> Result<Colour> {
    Ok(match (ids.len(), adobe) {
        (1, _) => Colour::Grey,
        (3, _) if jfif => Colour::YCbCr,
        (3, Some(0)) => Colour::Rgb,
        (3, None) if ids == b"RGB" => Colour::Rgb,
        (3, _) => Colour::YCbCr,
        (4, None | Some(0)) => Colour::Cmyk,
        (4, Some(_)) => Colour::Ycck,
        (count, _) => {
            let what = format!("{count} components");
            return Err(Error::unsupported(FORMAT, what));
        }
    })
}

fn run(
    stream: &mut Stream<'_>,
    scan: ScanHeader,
    colour: Colour,
    limits: &Limits,
) -> Result<Vec<u8>> {
    let Some(frame) = &stream.frame else {
        return Err(Error::corrupt(FORMAT, "a scan without a frame header"));
    };
    let several = frame.coding.progressive || scan.components.len() < frame.components.len();
    limits.check_memory(FORMAT, memory(frame, colour, several))?;
    if frame.coding.lossless {
        lossless::decode(stream, scan, colour, several)
    } else if several {
        scans::in_several(stream, scan, colour)
    } else {
        scans::in_one_pass(stream, scan, colour)
    }
}

/// Bytes that decoding takes: the pixels, and RGB beside them where they are something else; the strip being
/// decoded; all coefficients where they come in several scans, all samples of a lossless frame.
fn memory(frame: &Frame, colour: Colour, several: bool) -> u64 {
    let rgb = match colour {
        Colour::YCbCr | Colour::Rgb => 0,
        _ => 3,
    };
    let pixels = frame.width as u64 * (frame.height * (colour.channels() + rgb)) as u64;
    let kept = match (frame.coding.lossless, several) {
        (true, _) => frame.padded_blocks(),
        (false, true) => frame.padded_blocks() * size_of::<sequential::Block>(),
        (false, false) => 0,
    };
    pixels + (Rows::strip_bytes(frame) + kept) as u64
}

/// Pillow takes every four-component JPEG for an Adobe one, whose inks are stored inverted.
fn inverted(mut inks: Vec<u8>) -> Vec<u8> {
    inks.iter_mut().for_each(|ink| *ink = !*ink);
    inks
}
