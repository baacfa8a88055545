//! Compressed strips and tiles, as Pillow reads them through libtiff: each must be whole, and all must be there.

use super::expand::{Compression, undo_predictor};
use super::layout::{Kind, Layout};
use super::{Budget, FORMAT};
use crate::decode::tiff_ifd::{Directory, Values};
use crate::memory::filled;
use crate::{Error, Result};

/// How the samples are cut into strips or tiles.
struct Chunks<'a> {
    width: usize,
    height: usize,
    tiled: bool,
    offsets: Values<'a>,
    counts: Values<'a>,
    predictor: bool,
}

impl<'a> Chunks<'a> {
    fn new(directory: &Directory<'a>, layout: &Layout, compression: Compression) -> Result<Self> {
        let predictor = compression != Compression::PackBits && predictor(directory)?;
        let side = |tag: u16| match directory.value(tag)? {
            Some(value @ 1..=0x7fff_ffff) => Ok(Some(value as usize)),
            Some(value) => Err(Error::corrupt(FORMAT, format!("tag {tag} is {value}"))),
            None => Ok(None),
        };
        let tiled = [322, 323, 324, 325]
            .iter()
            .any(|&tag| directory.raw(tag).is_some());
        let strips = [273, 279].iter().any(|&tag| directory.raw(tag).is_some());
        if tiled && strips {
            let detail = "strips and tiles in one directory (tags 273 and 324)";
            return Err(Error::unsupported(FORMAT, detail));
        }
        let missing = |tag: u16| Error::corrupt(FORMAT, format!("tag {tag} is missing"));
        let (width, height) = if tiled {
            let width = side(322)?.ok_or_else(|| missing(322))?;
            (width, side(323)?.ok_or_else(|| missing(323))?)
        } else {
            // Libtiff's way to say "all of them".
            let all = directory.value(278)? == Some(u64::from(u32::MAX));
            let rows = if all { None } else { side(278)? };
            (
                layout.width,
                rows.unwrap_or(layout.height).min(layout.height),
            )
        };
        let tags = if tiled { [324, 325] } else { [273, 279] };
        let offsets = directory.values(tags[0], true)?;
        let counts = directory.values(tags[1], true)?;
        let offsets = offsets.ok_or_else(|| missing(tags[0]))?;
        let Some(counts) = counts else {
            let detail = format!("no lengths (tag {}) of compressed strips or tiles", tags[1]);
            return Err(Error::unsupported(FORMAT, detail));
        };
        if offsets.len() != counts.len() {
            let (places, lengths) = (offsets.len(), counts.len());
            let detail = format!(
                "{places} strips or tiles (tag {}) of {lengths} lengths",
                tags[0]
            );
            return Err(Error::unsupported(FORMAT, detail));
        }
        Ok(Self {
            width,
            height,
            tiled,
            offsets,
            counts,
            predictor,
        })
    }

    /// The bytes of a chunk, which must lie in the file.
    fn bytes<'b>(&self, directory: &Directory<'b>, index: usize, all: usize) -> Result<&'b [u8]> {
        let bytes = directory.file.bytes;
        let missing = || Error::truncated(FORMAT, format!("strip or tile {index} is missing"));
        let start = self.offsets.get(index).ok_or_else(missing)?;
        let start = usize::try_from(start).map_err(|_| missing())?;
        let rest = bytes.get(start..).ok_or_else(missing)?;
        let count = self.counts.get(index).ok_or_else(missing)?;
        if count == 0 && all == 1 && start != 0 && !self.tiled {
            // Of a single strip libtiff then takes what the file has beside its directory.
            let space = (bytes.len() as u64).saturating_sub(directory.overhead);
            let space = usize::try_from(space).unwrap_or(usize::MAX);
            return Ok(&rest[..space.min(rest.len())]);
        }
        match usize::try_from(count) {
            Ok(0) | Err(_) => Err(missing()),
            Ok(count) => rest.get(..count).ok_or_else(missing),
        }
    }
}

fn predictor(directory: &Directory) -> Result<bool> {
    let values = directory.values(317, true)?;
    if let Some(count) = values
        .map(|values| values.len())
        .filter(|&count| count != 1)
    {
        // Libtiff then takes it for none.
        let detail = format!("{count} predictors (tag 317)");
        return Err(Error::unsupported(FORMAT, detail));
    }
    let value = values.map(|values| values.get(0));
    match value {
        None | Some(Some(1)) => Ok(false),
        Some(Some(2)) => Ok(true),
        Some(other) => {
            let other = other.map_or("negative".to_owned(), |value| value.to_string());
            let detail = format!("predictor {other} (tag 317)");
            Err(Error::unsupported(FORMAT, detail))
        }
    }
}

/// What libtiff demands of tags of which Pillow takes the first value, or none.
fn check_tags(directory: &Directory, layout: &Layout) -> Result<()> {
    let bad = |tag: u16| {
        Err(Error::corrupt(
            FORMAT,
            format!("tag {tag} is not a number in its range"),
        ))
    };
    let single = [256, 257, 277, 278, 284, 322, 323];
    let numbers = |kind| matches!(kind, 1 | 3 | 4 | 6 | 8 | 9 | 16);
    for tag in [258, 339] {
        if directory
            .raw(tag)
            .is_some_and(|(kind, data)| data.is_empty() || !numbers(kind))
        {
            return bad(tag);
        }
    }
    let samples = directory.value(277)?.unwrap_or(1);
    for tag in [258, 259] {
        let values = directory.values(tag, false)?;
        let differ =
            |all: Values| (1..all.len().min(samples as usize)).any(|i| all.get(i) != all.get(0));
        if values.is_some_and(differ) {
            return bad(tag);
        }
    }
    let extra = directory
        .values(338, false)?
        .map_or(0, |extra| extra.len() as u64);
    if extra > directory.value(277)?.unwrap_or(1) {
        return bad(338);
    }
    for tag in single {
        let Some((kind, _)) = directory.raw(tag) else {
            continue;
        };
        if !numbers(kind) {
            return bad(tag);
        }
        let value = directory
            .values(tag, true)?
            .filter(|values| values.len() == 1)
            .and_then(|values| values.get(0));
        let right = match (tag, value) {
            (_, None) => false,
            (284, Some(value)) => matches!(value, 1 | 2),
            (277, Some(value)) => (1..=0xffff).contains(&value),
            (_, Some(value)) => (1..=0xffff_ffff).contains(&value),
        };
        if !right {
            return bad(tag);
        }
    }
    if layout.kind != Kind::Palette || layout.bits == 8 {
        return Ok(());
    }
    let colors = directory.values(320, false)?.map_or(0, |map| map.len());
    if colors != 3 << layout.bits {
        let detail = format!("tag 320 has {colors} values for {} bits", layout.bits);
        return Err(Error::corrupt(FORMAT, detail));
    }
    Ok(())
}

/// Reads into `data`; the buffer of one chunk must fit into `budget`.
pub(super) fn read(
    directory: &Directory,
    layout: Layout,
    compression: Compression,
    budget: &Budget,
    data: &mut [u8],
) -> Result<()> {
    if !matches!(
        directory.file.bytes.get(2..4),
        Some([b'*' | b'+', 0] | [0, b'*'])
    ) {
        return Err(Error::corrupt(FORMAT, "a header in the wrong byte order"));
    }
    check_tags(directory, &layout)?;
    let chunks = Chunks::new(directory, &layout, compression)?;
    let kept = layout.kept();
    let planes = match (layout.planar, layout.kind, layout.samples) {
        (false, ..) => 1,
        (_, Kind::Gray { .. } | Kind::Palette, 2) => 2,
        (_, Kind::Gray { .. } | Kind::Gray16 | Kind::Palette, _) => 1,
        (_, _, samples) => samples.min(4),
    };
    if planes > 1 && layout.samples > planes {
        let detail = format!("compressed planes of {} samples", layout.samples);
        return Err(Error::corrupt(FORMAT, detail));
    }
    if planes > 3 && layout.kind != Kind::Cmyk && !layout.straight {
        let detail = "compressed planes with an alpha of no kind or premultiplied (tag 338)";
        return Err(Error::unsupported(FORMAT, detail));
    }
    let samples = if layout.planar { 1 } else { layout.samples };
    let too_large = || {
        Error::corrupt(
            FORMAT,
            format!("tiles of {}x{}", chunks.width, chunks.height),
        )
    };
    let row = layout.row(chunks.width, samples).ok_or_else(too_large)?;
    let len = row.checked_mul(chunks.height).ok_or_else(too_large)?;
    // Pillow's own check, which fails only for rows that are not whole bytes.
    let tile = (chunks.height * layout.bits * samples).div_ceil(8) * chunks.width;
    if len >= i32::MAX as usize || (chunks.tiled && len > tile) {
        return Err(too_large());
    }
    budget.check(len as u64 + (128 << 10))?;
    let mut chunk = filled(len, 0)?;
    let across = layout.width.div_ceil(chunks.width);
    let in_plane = across * layout.height.div_ceil(chunks.height);
    let all = in_plane * if layout.planar { layout.samples } else { 1 };
    for place in 0..in_plane * planes {
        let (plane, at) = (place / in_plane, place % in_plane);
        let (x, y) = (at % across * chunks.width, at / across * chunks.height);
        let rows = chunks.height.min(layout.height - y);
        // Strips end with the image, tiles do not.
        let target = if chunks.tiled { len } else { rows * row };
        let source = chunks.bytes(directory, place, all)?;
        let chunk = &mut chunk[..target];
        compression.expand(source, chunk)?;
        if chunks.predictor {
            undo_predictor(chunk, row, samples, layout.bits, layout.big_endian)?;
        }
        let width = chunks.width.min(layout.width - x);
        for (i, source) in chunk.chunks_exact(row).take(rows).enumerate() {
            let at = ((y + i) * layout.width + x) * kept;
            let out = &mut data[at..at + width * kept];
            if planes == 1 {
                layout.unpack(source, out);
            } else if plane < kept {
                layout.unpack_plane(source, plane, out);
            }
        }
    }
    Ok(())
}
