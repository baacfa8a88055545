//! Uncompressed pixels, as Pillow's own reader takes them: a list of tiles, each from its offset on.

use super::layout::{Kind, Layout};
use super::{Budget, FORMAT};
use crate::decode::tiff_ifd::{Directory, Values};
use crate::memory::reserved;
use crate::{Error, Result};

/// How often a picture may be covered by its strips or tiles.
const MAX_COVERS: usize = 8;

/// A part of the picture; two are the same if all but the offset is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tile {
    plane: Option<usize>,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    /// Bytes from row to row; 0 when they follow each other.
    stride: usize,
}

/// The offsets, and the size of what is at each.
fn places<'a>(directory: &Directory<'a>, layout: &Layout) -> Result<(Values<'a>, usize, usize)> {
    let missing = |tag: u16| Error::corrupt(FORMAT, format!("tag {tag} is missing"));
    let side = |tag: u16, default: Option<usize>| {
        let value = directory
            .value(tag)?
            .map(|v| usize::try_from(v).unwrap_or(usize::MAX));
        match value.or(default) {
            None => Err(missing(tag)),
            Some(0) => Err(Error::corrupt(FORMAT, format!("tag {tag} is 0"))),
            // More than the picture has makes no difference, but could not be added.
            Some(side) => Ok(side.min(1 << 31)),
        }
    };
    if let Some(offsets) = directory.values(273, true)? {
        return Ok((offsets, layout.width, side(278, Some(layout.height))?));
    }
    let offsets = directory.values(324, true)?.ok_or_else(|| missing(273))?;
    Ok((offsets, side(322, None)?, side(323, None)?))
}

/// Refuses by name what Pillow misreads: it takes the first letters of a mode's name for those of its planes.
fn check_planes(layout: &Layout) -> Result<()> {
    let right = match (layout.kind, layout.bits) {
        (Kind::Gray { inverted: false } | Kind::Palette, 8) => layout.samples == 1,
        (Kind::Gray { inverted: false }, 1) => true,
        (Kind::Rgb, 8) => layout.samples <= 4,
        (Kind::Cmyk, 8) => layout.samples == 4,
        _ => false,
    };
    if right {
        return Ok(());
    }
    let detail = format!(
        "uncompressed planes (tag 284) of {} samples of {} bits, which Pillow misreads",
        layout.samples, layout.bits
    );
    Err(Error::unsupported(FORMAT, detail))
}

/// All tiles with their offsets, in the order in which Pillow lists them.
fn tiles(directory: &Directory, layout: &Layout, budget: &Budget) -> Result<Vec<(u64, Tile)>> {
    let (offsets, width, height) = places(directory, layout)?;
    let whole = (width, height) == (layout.width, layout.height) && !layout.planar;
    let first = if whole { offsets.len() - 1 } else { 0 };
    let across = layout.width.div_ceil(width);
    let most = across * layout.height.div_ceil(height) * layout.samples * MAX_COVERS;
    if offsets.len() > most {
        let detail = format!("{} strips or tiles (tag 273 or 324)", offsets.len());
        return Err(Error::unsupported(FORMAT, detail));
    }
    let count = offsets.len() - first;
    // The list, and what it is sorted with.
    budget.check((count * size_of::<(u64, Tile)>() * 3 / 2) as u64)?;
    let mut all = reserved(count)?;
    let (mut x, mut y, mut plane) = (0, 0, 0);
    for index in first..offsets.len() {
        let Some(offset) = offsets.get(index) else {
            return Err(Error::corrupt(FORMAT, "an offset is negative"));
        };
        if layout.planar && plane >= layout.samples {
            return Err(Error::corrupt(FORMAT, "more strips or tiles than planes"));
        }
        let mut stride = 0;
        if x + width > layout.width {
            let shared = if layout.planar { layout.counted } else { 1 };
            stride = width * layout.bits * layout.samples / (8 * shared);
        }
        all.push((
            offset,
            Tile {
                plane: layout.planar.then_some(plane),
                x,
                y,
                width: width.min(layout.width - x),
                height: height.min(layout.height - y),
                stride,
            },
        ));
        x += width;
        if x >= layout.width {
            (x, y) = (0, y + height);
            if y >= layout.height {
                (y, plane) = (0, plane + 1);
            }
        }
    }
    Ok(all)
}

/// Reads into `data`, which stays black where nothing is said; `turned` when its sides will change places.
pub(super) fn read(
    directory: &Directory,
    layout: &Layout,
    budget: &Budget,
    turned: bool,
    data: &mut [u8],
) -> Result<()> {
    if layout.planar {
        check_planes(layout)?;
    }
    let mut tiles = tiles(directory, layout, budget)?;
    if let [(_, only)] = tiles[..]
        && layout.mappable()
        && (turned || (only.width, only.height) != (layout.width, layout.height))
    {
        // Pillow maps a file that it opens by name, and then takes other pixels than from a stream.
        let detail = "one strip or tile that does not cover the picture, or is turned by a quarter \
                      (tag 274), which Pillow misreads";
        return Err(Error::unsupported(FORMAT, detail));
    }
    tiles.sort_by_key(|&(offset, _)| offset); // stable, as Pillow's
    for (i, (offset, tile)) in tiles.iter().enumerate() {
        // Of several for one place that follow each other, Pillow reads the last.
        if tiles.get(i + 1).is_some_and(|(_, next)| next == tile) {
            continue;
        }
        tile.read(directory.file.bytes, *offset, layout, data)?;
    }
    Ok(())
}

impl Tile {
    fn read(&self, bytes: &[u8], offset: u64, layout: &Layout, data: &mut [u8]) -> Result<()> {
        let samples = if self.plane.is_some() {
            1
        } else {
            layout.samples
        };
        let used = layout.row(self.width, samples).unwrap_or(usize::MAX);
        let stride = if self.stride == 0 { used } else { self.stride };
        if stride < used {
            let detail = format!("rows of {stride} bytes for {} pixels", self.width);
            return Err(Error::corrupt(FORMAT, detail));
        }
        let kept = layout.kept();
        for row in 0..self.height {
            let start = usize::try_from(offset).ok();
            let source = start.and_then(|start| {
                let at = start.checked_add(row.checked_mul(stride)?)?;
                bytes.get(at..at.checked_add(used)?)
            });
            let Some(source) = source else {
                let detail = format!("the file ends inside the strip or tile at {offset}");
                return Err(Error::truncated(FORMAT, detail));
            };
            let at = ((self.y + row) * layout.width + self.x) * kept;
            let out = &mut data[at..at + self.width * kept];
            match self.plane {
                Some(plane) if kept > 1 => {
                    if plane < kept {
                        layout.unpack_plane(source, plane, out);
                    }
                }
                _ => layout.unpack(source, out),
            }
        }
        Ok(())
    }
}
