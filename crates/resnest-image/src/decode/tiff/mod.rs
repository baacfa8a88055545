//! TIFF: the first page, by the table of modes in Pillow's `TiffImagePlugin`, turned upright.
//!
//! Pillow reads uncompressed files itself (`raw.rs`) and leaves the others to libtiff (`packed.rs`), with other
//! answers to the same damage.

mod expand;
mod layout;
mod lzw;
mod packed;
mod raw;

use super::orient;
use super::raster::{Palette, Raster, Samples};
use super::tiff_ifd::{Directory, File};
use crate::memory::filled;
use crate::{Error, Format, Limits, Result};
use expand::Compression;
use layout::{Kind, Layout};

const FORMAT: Format = Format::Tiff;

/// How the files begin that Pillow takes for TIFF: both byte orders, also in the wrong order, and BigTIFF.
pub(super) const PREFIXES: [&[u8]; 6] =
    [b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+"];

/// What the pixels take of the memory there may be.
struct Budget<'a> {
    limits: &'a Limits,
    taken: u64,
}

impl Budget<'_> {
    /// Whether `more` bytes fit beside them.
    fn check(&self, more: u64) -> Result<()> {
        self.limits
            .check_memory(FORMAT, self.taken.saturating_add(more))
    }
}

fn directory(bytes: &[u8]) -> Result<Directory<'_>> {
    File::new(bytes)
        .and_then(File::directory)
        .ok_or_else(|| Error::truncated(FORMAT, "the file ends before its directory"))
}

fn cut_directory() -> Error {
    Error::truncated(FORMAT, "the file ends inside its directory")
}

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    layout::dimensions(&directory(bytes)?)
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let mut directory = directory(bytes)?;
    let compression = Compression::new(directory.value(259)?.unwrap_or(1))?;
    let layout = Layout::new(&directory)?;
    let orientation = orientation(&directory)?;
    let palette = match layout.kind {
        Kind::Palette => Some(palette(&directory)?),
        _ => None,
    };
    // What is kept, once more while it is turned, and the RGB made of it, if it is none.
    let pixels = layout.width as u64 * layout.height as u64;
    let kept = layout.kept() as u64;
    let turned = if matches!(orientation, 2..=8) {
        kept
    } else {
        0
    };
    let each = kept + turned.max(if kept == 3 { 0 } else { 3 });
    let budget = Budget {
        limits,
        taken: pixels * each,
    };
    budget.check(0)?;
    let mut data = filled(layout.width * layout.height * layout.kept(), 0)?;
    if compression != Compression::None {
        directory.all_tags();
    }
    match compression {
        Compression::None => raw::read(
            &directory,
            &layout,
            &budget,
            matches!(orientation, 5..=8),
            &mut data,
        )?,
        _ if !directory.whole => return Err(cut_directory()),
        _ => packed::read(&directory, layout, compression, &budget, &mut data)?,
    }
    let size = (layout.width as u32, layout.height as u32);
    let (width, height) = orient::turn(&mut data, size, layout.kept(), orientation)?;
    let samples = match (layout.kind, palette) {
        (_, Some(palette)) => Samples::Palette(data, palette),
        (Kind::Rgb | Kind::Premultiplied, _) => Samples::Rgb(data),
        (Kind::Cmyk, _) => Samples::Cmyk(data),
        _ => Samples::Luma(data),
    };
    Ok(Raster {
        width,
        height,
        samples,
    })
}

/// By the tag, of any type that holds numbers (bytes do not); without it, by XMP, which must be bytes where Pillow looks
/// at it.
fn orientation(directory: &Directory) -> Result<u16> {
    let xmp = directory.raw(700);
    let orientation = match directory.raw(274) {
        Some((1 | 2 | 7, _)) => Some(1),
        Some(_) => {
            let values = directory.values(274, false)?;
            let value = values.and_then(|values| values.get(0)).unwrap_or(1);
            Some(u16::try_from(value).unwrap_or(1))
        }
        None => None,
    };
    match (orientation, xmp) {
        (None, Some((1 | 7, packet))) => Ok(xmp_orientation(packet).unwrap_or(1)),
        (None | Some(2..=8), Some((kind, _))) if !matches!(kind, 1 | 7) => {
            let detail = format!("tag 700 (XMP) has type {kind}");
            Err(Error::unsupported(FORMAT, detail))
        }
        (found, _) => Ok(found.unwrap_or(1)),
    }
}

/// The orientation in an XMP packet.
fn xmp_orientation(packet: &[u8]) -> Option<u16> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut names = packet
        .windows(NAME.len())
        .enumerate()
        .filter(|(_, window)| *window == NAME);
    names.find_map(|(at, _)| {
        let rest = &packet[at + NAME.len()..];
        let value = rest
            .strip_prefix(b"=\"")
            .or_else(|| rest.strip_prefix(b">"))?;
        value
            .first()
            .filter(|digit| digit.is_ascii_digit())
            .map(|digit| u16::from(digit - b'0'))
    })
}

/// The colour map: all reds, all greens, all blues, 16 bits each of which the high byte counts.
fn palette(directory: &Directory) -> Result<Box<Palette>> {
    let Some(map) = directory.values(320, false)? else {
        return Err(Error::corrupt(
            FORMAT,
            "tag 320, the colour map, is missing",
        ));
    };
    let colors = map.len() / 3;
    if colors > 256 {
        let detail = format!("tag 320 has {colors} colours");
        return Err(Error::corrupt(FORMAT, detail));
    }
    if (0..map.len()).any(|i| map.get(i).is_none_or(|v| v >= 1 << 16)) {
        return Err(Error::corrupt(FORMAT, "tag 320 has values outside 16 bits"));
    }
    let channel = |c: usize, i: usize| map.get(c * colors + i).map_or(0, |v| (v / 256) as u8);
    Ok(Palette::new(
        (0..colors).map(|i| [channel(0, i), channel(1, i), channel(2, i)]),
    ))
}
