//! Windows bitmaps, by the rules of Pillow's `BmpImagePlugin`.

use super::bytes::{u16_le, u32_le, unpack};
use super::raster::{Palette, Raster, Samples};
use crate::memory::{filled, reserved};
use crate::{Error, Format, Limits, Result};

const FORMAT: Format = Format::Bmp;

/// Length of the file header before the bitmap header.
const FILE_HEADER: usize = 14;

const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BITFIELDS: u32 = 3;

pub(super) struct Bitmap<'a> {
    pub width: u64,
    pub height: u64,
    top_down: bool,
    bits: u16,
    compression: u32,
    /// Red, green, blue, alpha; only with `BITFIELDS`.
    masks: [u32; 4],
    /// Bytes an entry, and the entries.
    palette: (usize, &'a [u8]),
    colors: u64,
    pixels: &'a [u8],
    /// Where they begin in the file.
    pub start: usize,
}

fn short<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::truncated(FORMAT, "the file ends inside the header"))
}

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    let bitmap = bitmap(bytes)?;
    Ok((bitmap.width, bitmap.height))
}

fn bitmap(bytes: &[u8]) -> Result<Bitmap<'_>> {
    let offset = short(u32_le(bytes, 10))? as usize;
    bitmap_at(bytes, FILE_HEADER, offset)
}

/// The bitmap whose header is `at` this place of the file; its pixels begin at `offset`, or behind the header if that is 0.
fn bitmap_at(bytes: &[u8], at: usize, offset: usize) -> Result<Bitmap<'_>> {
    let header_size = short(u32_le(bytes, at))? as usize;
    let long = match header_size {
        12 => false,
        40 | 52 | 56 | 64 | 108 | 124 => true,
        other => {
            return Err(Error::unsupported(
                FORMAT,
                format!("a header of {other} bytes"),
            ));
        }
    };
    let header = short(bytes.get(at..at + header_size))?;
    let word = |at| u64::from(u16_le(header, at).unwrap_or(0));
    let long_word = |at| u32_le(header, at).unwrap_or(0);
    let mut next = at + header_size;
    let (mut masks, mut compression, mut colors, mut top_down) = ([0; 4], RAW, 0, false);
    let (width, height, bits) = if long {
        compression = long_word(16);
        colors = u64::from(long_word(32));
        top_down = header.get(11) == Some(&0xff);
        let height = u64::from(long_word(8));
        let height = if top_down { (1 << 32) - height } else { height };
        (u64::from(long_word(4)), height, word(14))
    } else {
        (word(4), word(6), word(10))
    };
    if compression == BITFIELDS {
        if header_size >= 52 {
            masks = [long_word(40), long_word(44), long_word(48), 0];
            masks[3] = if header_size >= 56 { long_word(52) } else { 0 };
        } else {
            for mask in &mut masks[..3] {
                *mask = short(u32_le(bytes, next))?;
                next += 4;
            }
        }
    }
    if colors == 0 {
        colors = 1 << bits.min(32);
    }
    let entry = if long { 4 } else { 3 };
    let palette = palette_bytes(bytes, next, entry, colors, bits)?;
    let start = if offset == FILE_HEADER + header_size && bits <= 8 {
        offset.saturating_add(entry * colors as usize)
    } else if offset == 0 {
        next + palette.len()
    } else {
        offset
    };
    let pixels = bytes.get(start..).unwrap_or_default();
    let bits = bits as u16;
    let palette = (entry, palette);
    Ok(Bitmap {
        width,
        height,
        top_down,
        bits,
        compression,
        masks,
        palette,
        colors,
        pixels,
        start,
    })
}

fn palette_bytes(bytes: &[u8], at: usize, entry: usize, colors: u64, bits: u64) -> Result<&[u8]> {
    if bits > 8 {
        return Ok(&[]);
    }
    if colors > 65536 {
        return Err(Error::corrupt(
            FORMAT,
            format!("a palette of {colors} colours"),
        ));
    }
    let rest = bytes.get(at..).unwrap_or_default();
    Ok(&rest[..rest.len().min(entry * colors as usize)])
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    decode_bitmap(&bitmap(bytes)?, limits)
}

pub(super) fn decode_bitmap(bitmap: &Bitmap<'_>, limits: &Limits) -> Result<Raster> {
    limits.check_memory(FORMAT, 5 * bitmap.width * bitmap.height)?;
    let (width, height) = (bitmap.width as u32, bitmap.height as u32);
    let samples = match (bitmap.bits, bitmap.compression) {
        (1 | 4 | 8, RAW) => bitmap.indexed(false)?,
        (1 | 4 | 8, RLE4 | RLE8) => bitmap.indexed(true)?,
        (16 | 24 | 32, RAW | BITFIELDS) => Samples::Rgb(bitmap.rgb()?),
        (bits, compression) => {
            let detail = format!("{bits} bits a pixel with compression {compression}");
            return Err(Error::unsupported(FORMAT, detail));
        }
    };
    Ok(Raster {
        width,
        height,
        samples,
    })
}

impl<'a> Bitmap<'a> {
    /// An icon's, which has no file header, and of whose rows the second half is a mask.
    pub fn of_icon(bytes: &'a [u8], at: usize) -> Result<Self> {
        let mut bitmap = bitmap_at(bytes, at, 0)?;
        bitmap.height /= 2;
        Ok(bitmap)
    }

    /// The `used` bytes of the row that is `y`th from the top; the padding of the last stored row may be missing.
    fn row(&self, y: usize, used: usize) -> Result<&[u8]> {
        let stride = ((self.width as usize * usize::from(self.bits) + 31) >> 3) & !3;
        let stored = if self.top_down {
            y
        } else {
            self.height as usize - 1 - y
        };
        let bytes = stored
            .checked_mul(stride)
            .and_then(|at| self.pixels.get(at..at.checked_add(used)?));
        bytes.ok_or_else(|| {
            let have = self.pixels.len() / stride.max(1);
            Error::truncated(FORMAT, format!("about {have} rows of {}", self.height))
        })
    }

    fn packed_indices(&self) -> Result<Vec<u8>> {
        let (width, height) = (self.width as usize, self.height as usize);
        let used = (width * usize::from(self.bits)).div_ceil(8);
        let mut out = filled(width * height, 0)?;
        for (y, out) in out.chunks_exact_mut(width).enumerate() {
            match self.bits {
                8 => out.copy_from_slice(self.row(y, used)?),
                bits => unpack(self.row(y, used)?, bits as u8, 1, out),
            }
        }
        Ok(out)
    }

    /// Colours of the indices. Pillow drops a palette that is a plain grey ramp and then takes the file
    /// for a "1" or "L" image whatever its bits; where that would misread the pixels, it is an error here.
    fn indexed(&self, run_lengths: bool) -> Result<Samples> {
        let (entry, bytes) = self.palette;
        let indices = || match run_lengths {
            true => self.run_lengths(),
            false => self.packed_indices(),
        };
        if !self.is_gray_ramp() {
            let count = bytes.len() / entry;
            if count > 256 {
                let detail = format!("a palette of {count} colours");
                return Err(Error::corrupt(FORMAT, detail));
            }
            let colors = bytes.chunks_exact(entry).map(|c| [c[2], c[1], c[0]]);
            return Ok(Samples::Palette(indices()?, Palette::new(colors)));
        }
        match (self.colors <= 2, self.bits) {
            (true, bits) if bits == 1 || run_lengths => {
                let mut indices = indices()?;
                indices
                    .iter_mut()
                    .for_each(|i| *i = if *i == 0 { 0 } else { 255 });
                Ok(Samples::Luma(indices))
            }
            (false, bits) if bits == 8 || run_lengths => Ok(Samples::Luma(indices()?)),
            _ => {
                let (bits, colors) = (self.bits, self.colors);
                let detail = format!("{bits} bits a pixel with a grey ramp of {colors} colours");
                Err(Error::unsupported(FORMAT, detail))
            }
        }
    }

    fn is_gray_ramp(&self) -> bool {
        let (entry, bytes) = self.palette;
        // Past 255 the ramp begins anew.
        let value = |i: u64| (if self.colors == 2 { i * 255 } else { i }) as u8;
        (0..self.colors).all(|i| {
            let at = i as usize * entry;
            bytes.get(at..at + 3) == Some(&[value(i); 3])
        })
    }

    fn rgb(&self) -> Result<Vec<u8>> {
        let (width, height) = (self.width as usize, self.height as usize);
        let used = width * usize::from(self.bits / 8);
        let mut out = filled(width * height * 3, 0)?;
        for (y, out) in out.chunks_exact_mut(width * 3).enumerate() {
            let (row, out) = (self.row(y, used)?, out.as_chunks_mut::<3>().0);
            match self.bits {
                16 => pixels::<2>(row, out, self.words()?),
                24 => pixels::<3>(row, out, ordered(self.byte_order()?)),
                _ => pixels::<4>(row, out, ordered(self.byte_order()?)),
            }
        }
        Ok(out)
    }

    /// How a pixel of 16 bits is read.
    fn words(&self) -> Result<impl Fn(&[u8; 2]) -> [u8; 3] + use<>> {
        let green = self.green_of_16()?;
        Ok(move |&word: &[u8; 2]| rgb16(u16::from_le_bytes(word), green))
    }

    /// Bits of green in a 16-bit pixel.
    fn green_of_16(&self) -> Result<u32> {
        match (self.compression, self.masks) {
            (RAW, _) | (_, [0x7c00, 0x3e0, 0x1f, _]) => Ok(5),
            (_, [0xf800, 0x7e0, 0x1f, _]) => Ok(6),
            _ => self.odd_masks(),
        }
    }

    /// Bytes of red, green and blue in a pixel of 24 or 32 bits.
    fn byte_order(&self) -> Result<[usize; 3]> {
        if self.compression == RAW {
            return Ok([2, 1, 0]);
        }
        match (self.bits, self.masks) {
            (24, [0xff_0000, 0xff00, 0xff, _]) => Ok([2, 1, 0]),
            (32, [0xff_0000, 0xff00, 0xff, 0 | 0xff00_0000] | [0, 0, 0, 0]) => Ok([2, 1, 0]),
            (32, [0xff00_0000, 0xff_0000, 0xff00, 0 | 0xff]) => Ok([3, 2, 1]),
            (32, [0xff00_0000, 0xff00, 0xff, 0 | 0xff_0000]) => Ok([3, 1, 0]),
            (32, [0xff, 0xff00, 0xff_0000, 0xff00_0000]) => Ok([0, 1, 2]),
            _ => self.odd_masks(),
        }
    }

    fn odd_masks<T>(&self) -> Result<T> {
        let detail = format!("bit masks {:x?} of {} bits", self.masks, self.bits);
        Err(Error::unsupported(FORMAT, detail))
    }

    /// Run-length indices, rows top to bottom, as Pillow's `BmpRleDecoder` reads them.
    fn run_lengths(&self) -> Result<Vec<u8>> {
        let (width, height) = (self.width as usize, self.height as usize);
        let total = width * height;
        let mut out = RunLengths {
            // The last run may go past the end.
            data: reserved(total + 256)?,
            odd: self.start % 2,
            width,
            total,
            x: 0,
        };
        out.read(self.pixels, self.compression == RLE4);
        if out.data.len() < total {
            let detail = format!("{} pixels of {total}", out.data.len());
            return Err(Error::truncated(FORMAT, detail));
        }
        let mut data = out.data;
        data.truncate(total);
        if !self.top_down {
            let (upper, lower) = data.split_at_mut(height / 2 * width);
            let lower = lower.chunks_exact_mut(width).rev();
            for (a, b) in upper.chunks_exact_mut(width).zip(lower) {
                a.swap_with_slice(b);
            }
        }
        Ok(data)
    }
}

/// Each pixel of `SIZE` bytes by `color`.
fn pixels<const SIZE: usize>(
    row: &[u8],
    out: &mut [[u8; 3]],
    color: impl Fn(&[u8; SIZE]) -> [u8; 3],
) {
    for (out, pixel) in out.iter_mut().zip(row.as_chunks::<SIZE>().0) {
        *out = color(pixel);
    }
}

/// The bytes at `order`.
fn ordered<const SIZE: usize>(order: [usize; 3]) -> impl Fn(&[u8; SIZE]) -> [u8; 3] {
    move |pixel| order.map(|at| pixel[at])
}

fn rgb16(word: u16, green: u32) -> [u8; 3] {
    let field = |shift: u32, bits: u32| {
        let max = (1u32 << bits) - 1;
        ((u32::from(word) >> shift & max) * 255 / max) as u8
    };
    [field(5 + green, 5), field(5, green), field(0, 5)]
}

/// State of the run-length reader.
struct RunLengths {
    data: Vec<u8>,
    /// 1 when the data begins at an odd place of the file.
    odd: usize,
    width: usize,
    total: usize,
    /// Column as Pillow counts it.
    x: usize,
}

impl RunLengths {
    fn read(&mut self, source: &[u8], nibbles: bool) {
        let mut at = 0;
        while self.data.len() < self.total {
            let Some(&[count, value]) = source.get(at..).and_then(|s| s.first_chunk()) else {
                return;
            };
            at += 2;
            match (count, value) {
                (0, 0) => self.end_line(),
                (0, 1) => return,
                (0, 2) => {
                    let Some(&[right, up]) = source.get(at..).and_then(|s| s.first_chunk()) else {
                        return;
                    };
                    at += 2;
                    self.skip(usize::from(right) + usize::from(up) * self.width);
                }
                (0, count) => match self.literal(source, at, count, nibbles) {
                    Some(next) => at = next,
                    None => return,
                },
                (count, value) => self.run(usize::from(count), value, nibbles),
            }
        }
    }

    fn end_line(&mut self) {
        let len = self.data.len().next_multiple_of(self.width);
        self.data.resize(len, 0);
        self.x = 0;
    }

    fn skip(&mut self, count: usize) {
        let len = (self.data.len() + count).min(self.total);
        self.data.resize(len, 0);
        self.x = len % self.width;
    }

    fn run(&mut self, count: usize, value: u8, nibbles: bool) {
        let count = count.min(self.width.saturating_sub(self.x));
        let pair = if nibbles {
            [value >> 4, value & 15]
        } else {
            [value; 2]
        };
        self.data.extend(pair.into_iter().cycle().take(count));
        self.x += count;
    }

    /// Pixels stored as they are, padded to an even place in the file; nothing when they end early.
    fn literal(&mut self, source: &[u8], at: usize, count: u8, nibbles: bool) -> Option<usize> {
        let pixels = usize::from(count).min(self.total - self.data.len());
        let len = if nibbles { pixels.div_ceil(2) } else { pixels };
        let bytes = source.get(at..at + len)?;
        if nibbles {
            let unpacked = bytes.iter().flat_map(|&b| [b >> 4, b & 15]);
            self.data.extend(unpacked.take(pixels));
        } else {
            self.data.extend_from_slice(bytes);
        }
        self.x += usize::from(count);
        Some(at + len + (self.odd + at + len) % 2)
    }
}
