//! TIFF: the first page, by the table of modes in Pillow's `TiffImagePlugin`, turned upright.

use super::bytes::unpack;
use super::orient;
use super::raster::{Palette, Raster, Samples};
use super::tiff_data::{Compression, undo_predictor};
use super::tiff_ifd::{Directory, File};
use crate::{ColorMode, Error, Format, Image, Limits, Result};

const FORMAT: Format = Format::Tiff;

/// How the files begin that Pillow takes for TIFF: both byte orders, and little-endian BigTIFF.
pub(super) const PREFIXES: [&[u8]; 3] = [b"II*\0", b"MM\0*", b"II+\0"];

/// Samples a pixel that are read at most.
const MAX_SAMPLES: u64 = 6;

/// What the tags say about the samples.
struct Layout {
    width: usize,
    height: usize,
    photometric: u64,
    /// Bits of every sample.
    bits: u64,
    samples: usize,
    extra: Vec<u64>,
    big_endian: bool,
}

/// How the samples are cut into strips or tiles.
struct Chunks {
    width: usize,
    height: usize,
    offsets: Vec<u64>,
    counts: Vec<u64>,
    compression: Compression,
    predictor: bool,
    /// Each sample in a plane of its own.
    planar: bool,
}

fn directory(bytes: &[u8]) -> Result<Directory<'_>> {
    File::new(bytes)
        .and_then(File::directory)
        .ok_or_else(|| Error::truncated(FORMAT, "the file ends before its directory"))
}

fn dimensions(directory: &Directory) -> Result<(u64, u64)> {
    match (directory.value(256)?, directory.value(257)?) {
        (Some(width), Some(height)) => Ok((width, height)),
        _ => Err(Error::corrupt(FORMAT, "the directory has no dimensions")),
    }
}

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    dimensions(&directory(bytes)?)
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let directory = directory(bytes)?;
    let layout = layout(&directory)?;
    let chunks = chunks(&directory, &layout)?;
    let pixels = layout.width as u64 * layout.height as u64;
    limits.check_memory(
        FORMAT,
        pixels * (2 * layout.samples as u64 * layout.bits.div_ceil(8) + 3),
    )?;
    let data = assemble(bytes, &layout, &chunks, limits)?;
    let samples = layout.interpret(data, &directory)?;
    let (width, height) = (layout.width as u32, layout.height as u32);
    let orientation = match directory.value(274)? {
        Some(orientation) => orientation,
        None => directory
            .payload(700)?
            .and_then(xmp_orientation)
            .unwrap_or(1),
    };
    if !matches!(orientation, 2..=8) {
        return Ok(Raster {
            width,
            height,
            samples,
        });
    }
    let image = Raster {
        width,
        height,
        samples,
    }
    .convert(ColorMode::Rgb);
    let Image {
        width,
        height,
        data,
        ..
    } = orient::apply(image?, orientation as u16);
    Ok(Raster {
        width,
        height,
        samples: Samples::Rgb(data),
    })
}

/// The orientation in an XMP packet, which Pillow takes where the tag is missing.
fn xmp_orientation(packet: &[u8]) -> Option<u64> {
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
            .map(|digit| u64::from(digit - b'0'))
    })
}

fn layout(directory: &Directory) -> Result<Layout> {
    let (width, height) = dimensions(directory)?;
    let photometric = directory.value(262)?.unwrap_or(0);
    let extra = directory.values(338)?.unwrap_or_default();
    let samples = directory.value(277)?.unwrap_or(1);
    let mut depths = directory.values(258)?.unwrap_or_else(|| vec![1]);
    let unsupported = |detail: String| Err(Error::unsupported(FORMAT, detail));
    if samples == 0 || samples > MAX_SAMPLES {
        return unsupported(format!("{samples} samples a pixel"));
    }
    depths.truncate(samples as usize);
    let bits = depths.first().copied().unwrap_or(1);
    if depths.iter().any(|&b| b != bits) || (depths.len() > 1 && depths.len() as u64 != samples) {
        return unsupported(format!("samples of {depths:?} bits"));
    }
    let kinds = directory.values(339)?.unwrap_or_else(|| vec![1]);
    let signed_bytes = kinds.iter().all(|&k| k == 2) && (photometric, bits, samples) == (1, 8, 1);
    if kinds.iter().any(|&k| k != 1) && !signed_bytes {
        return unsupported(format!(
            "sample format {kinds:?} (signed, floating point or complex)"
        ));
    }
    if directory.value(266)?.unwrap_or(1) != 1 {
        return unsupported("reversed bit order (FillOrder 2)".to_owned());
    }
    let (width, height, samples) = (width as usize, height as usize, samples as usize);
    let big_endian = directory.file.big_endian;
    Ok(Layout {
        width,
        height,
        photometric,
        bits,
        samples,
        extra,
        big_endian,
    })
}

fn chunks(directory: &Directory, layout: &Layout) -> Result<Chunks> {
    let compression = Compression::new(directory.value(259)?.unwrap_or(1))?;
    let predictor = match directory.value(317)?.unwrap_or(1) {
        1 => false,
        2 => matches!(compression, Compression::Lzw | Compression::Deflate),
        other => return Err(Error::unsupported(FORMAT, format!("predictor {other}"))),
    };
    let planar = directory.value(284)?.unwrap_or(1) == 2;
    let tiled = directory.values(324)?;
    let side = |tag: u16, default: usize| -> Result<usize> {
        let value = directory.value(tag)?.unwrap_or(default as u64);
        Ok(usize::try_from(value).unwrap_or(usize::MAX))
    };
    let (offsets, counts, width, height) = match tiled {
        Some(offsets) => (Some(offsets), 325, side(322, 0)?, side(323, 0)?),
        None => {
            let rows = side(278, layout.height)?.min(layout.height);
            (directory.values(273)?, 279, layout.width, rows)
        }
    };
    let Some(offsets) = offsets else {
        return Err(Error::corrupt(
            FORMAT,
            "the directory has neither strips nor tiles",
        ));
    };
    if width == 0 || height == 0 {
        return Err(Error::corrupt(
            FORMAT,
            format!("strips or tiles of {width}x{height}"),
        ));
    }
    let counts = directory.values(counts)?.unwrap_or_default();
    Ok(Chunks {
        width,
        height,
        offsets,
        counts,
        compression,
        predictor,
        planar,
    })
}

/// All samples, interleaved, rows packed to whole bytes.
fn assemble(bytes: &[u8], layout: &Layout, chunks: &Chunks, limits: &Limits) -> Result<Vec<u8>> {
    let planes = if chunks.planar { layout.samples } else { 1 };
    let pixel_bits = layout.bits as usize * layout.samples / planes;
    let too_big = || Error::corrupt(FORMAT, "tiles larger than memory");
    let bytes_of = |width: usize| {
        width
            .checked_mul(pixel_bits)
            .map(|bits| bits.div_ceil(8))
            .ok_or_else(too_big)
    };
    let (row, chunk_row) = (bytes_of(layout.width)?, bytes_of(chunks.width)?);
    let chunk_len = chunk_row.checked_mul(chunks.height).ok_or_else(too_big)?;
    limits.check_memory(FORMAT, chunk_len as u64)?;
    let (across, down) = (
        layout.width.div_ceil(chunks.width),
        layout.height.div_ceil(chunks.height),
    );
    let mut all = Vec::with_capacity(planes);
    for plane in 0..planes {
        let mut data = vec![0; row * layout.height];
        for place in 0..across * down {
            let (x, y) = (
                place % across * chunks.width,
                place / across * chunks.height,
            );
            // Strips end with the image, tiles do not.
            let rows = if across == 1 && chunks.width == layout.width {
                chunks.height.min(layout.height - y)
            } else {
                chunks.height
            };
            let chunk = read_chunk(
                bytes,
                chunks,
                plane * across * down + place,
                chunk_row * rows,
            )?;
            let chunk = unpredict(chunk, chunk_row, layout, chunks)?;
            let at = bytes_of(x)?;
            let used = chunk_row.min(row - at);
            let targets = data.chunks_exact_mut(row).skip(y);
            for (target, source) in targets.zip(chunk.chunks_exact(chunk_row)) {
                target[at..at + used].copy_from_slice(&source[..used]);
            }
        }
        all.push(data);
    }
    interleave(all, layout.bits)
}

fn read_chunk(bytes: &[u8], chunks: &Chunks, index: usize, len: usize) -> Result<Vec<u8>> {
    let missing = || Error::truncated(FORMAT, format!("strip or tile {index} is missing"));
    let offset = chunks.offsets.get(index).ok_or_else(missing)?;
    let start = usize::try_from(*offset).map_err(|_| missing())?;
    let rest = bytes.get(start..).ok_or_else(missing)?;
    // Pillow reads uncompressed data from the offset on, whatever the count says.
    let count = match (chunks.compression, chunks.counts.get(index)) {
        (Compression::None, _) | (_, None) => rest.len(),
        (_, Some(&count)) => usize::try_from(count).unwrap_or(usize::MAX).min(rest.len()),
    };
    chunks.compression.expand(&rest[..count], len)
}

fn unpredict(mut chunk: Vec<u8>, row: usize, layout: &Layout, chunks: &Chunks) -> Result<Vec<u8>> {
    if chunks.predictor {
        let samples = if chunks.planar { 1 } else { layout.samples };
        undo_predictor(&mut chunk, row, samples, layout.bits, layout.big_endian)?;
    }
    Ok(chunk)
}

fn interleave(mut planes: Vec<Vec<u8>>, bits: u64) -> Result<Vec<u8>> {
    if planes.len() == 1 {
        return Ok(planes.pop().unwrap_or_default());
    }
    if !bits.is_multiple_of(8) {
        return Err(Error::unsupported(
            FORMAT,
            format!("separate planes of {bits}-bit samples"),
        ));
    }
    let size = bits as usize / 8;
    let len = planes.first().map_or(0, Vec::len);
    let mut out = Vec::with_capacity(len * planes.len());
    for at in (0..len).step_by(size) {
        for plane in &planes {
            out.extend_from_slice(&plane[at..at + size]);
        }
    }
    Ok(out)
}

impl Layout {
    fn interpret(&self, data: Vec<u8>, directory: &Directory) -> Result<Samples> {
        let extra_kind = self.extra.first().copied();
        match (
            self.photometric,
            self.bits,
            self.samples - self.extra.len().min(self.samples),
        ) {
            (0 | 1, 1 | 2 | 4 | 8, 1) if extra_kind != Some(1) => Ok(self.gray(data)),
            (1, 16, 1) if self.extra.is_empty() => Ok(self.gray16(&data)),
            (0, 16, 1) if self.extra.is_empty() && !self.big_endian => Ok(self.gray16(&data)),
            (2, 8 | 16, 3 | 4) => self.rgb(&data),
            (3, 1 | 2 | 4 | 8, 1) if extra_kind != Some(1) => {
                let palette = palette(directory)?;
                Ok(Samples::Palette(self.first_sample(data), palette))
            }
            (5, 8 | 16, 4) => Ok(Samples::Cmyk(self.high_bytes(&data, 4))),
            _ => Err(Error::unsupported(
                FORMAT,
                format!(
                    "photometric interpretation {} with {} samples of {} bits, extra samples {:?}",
                    self.photometric, self.samples, self.bits, self.extra
                ),
            )),
        }
    }

    /// The first sample of each pixel, one byte each.
    fn first_sample(&self, data: Vec<u8>) -> Vec<u8> {
        if self.bits < 8 {
            return unpack(&data, self.width * self.samples, self.bits as u8)
                .into_iter()
                .step_by(self.samples)
                .collect();
        }
        if self.samples == 1 {
            data
        } else {
            data.into_iter().step_by(self.samples).collect()
        }
    }

    fn gray(&self, data: Vec<u8>) -> Samples {
        let scale = 255 / ((1u16 << self.bits) - 1) as u8;
        let inverted = if self.photometric == 0 { 255 } else { 0 };
        let mut samples = self.first_sample(data);
        samples
            .iter_mut()
            .for_each(|v| *v = (*v * scale) ^ inverted);
        Samples::Luma(samples)
    }

    /// Pillow's "I;16" to a byte: clipped, not scaled.
    fn gray16(&self, data: &[u8]) -> Samples {
        let clip = |&[a, b]: &[u8; 2]| {
            let (high, low) = if self.big_endian { (a, b) } else { (b, a) };
            if high == 0 { low } else { 255 }
        };
        Samples::Luma(data.as_chunks::<2>().0.iter().map(clip).collect())
    }

    /// The first `count` samples of each pixel, of 16 bits the high byte.
    fn high_bytes(&self, data: &[u8], count: usize) -> Vec<u8> {
        let size = self.bits as usize / 8;
        let high = if self.big_endian { 0 } else { size - 1 };
        let mut out = Vec::with_capacity(self.width * self.height * count);
        for pixel in data.chunks_exact(self.samples * size) {
            out.extend(
                pixel
                    .chunks_exact(size)
                    .take(count)
                    .map(|sample| sample[high]),
            );
        }
        out
    }

    fn rgb(&self, data: &[u8]) -> Result<Samples> {
        match (self.extra.first(), self.bits) {
            (Some(1), 8) => Ok(Samples::Rgb(unpremultiplied(data, self.samples))),
            (Some(1), _) => Err(Error::unsupported(FORMAT, "premultiplied alpha of 16 bits")),
            _ => Ok(Samples::Rgb(self.high_bytes(data, 3))),
        }
    }
}

/// Pillow's "RGBa": colours divided by their alpha, cut to an integer.
fn unpremultiplied(data: &[u8], samples: usize) -> Vec<u8> {
    let color = |pixel: &[u8]| {
        let alpha = u32::from(pixel[3]);
        [pixel[0], pixel[1], pixel[2]].map(|v| match alpha {
            0 => 0,
            255 => v,
            _ => (u32::from(v) * 255 / alpha).min(255) as u8,
        })
    };
    data.chunks_exact(samples).flat_map(color).collect()
}

/// The colour map: all reds, all greens, all blues, 16 bits each of which the high byte counts.
fn palette(directory: &Directory) -> Result<Box<Palette>> {
    let Some(map) = directory.values(320)? else {
        return Err(Error::corrupt(
            FORMAT,
            "a palette image without a colour map",
        ));
    };
    let colors = map.len() / 3;
    let channel = |c: usize, i: usize| map.get(c * colors + i).map_or(0, |v| (v / 256) as u8);
    Ok(Palette::new(
        (0..colors).map(|i| [channel(0, i), channel(1, i), channel(2, i)]),
    ))
}
