//! Truevision's TGA, by the rules of Pillow's `TgaImagePlugin`.

use super::bytes::{u16_le, unpack};
use super::raster::{Palette, Raster, Samples};
use crate::memory::filled;
use crate::{Error, Format, Limits, Result};

const FORMAT: Format = Format::Tga;

/// Length of the header before the identification.
const HEADER: usize = 18;

/// Where the 26 bytes of the footer are looked for, whether or not there is one.
const FOOTER: usize = 26;

/// Whether Pillow comes to try its TGA reader on these bytes and the header is one.
///
/// The format has no magic number. Where another reader of Pillow's, which is asked before, might take the file, it is
/// none here.
pub(super) fn accepts(bytes: &[u8]) -> bool {
    let Some(&header) = bytes.first_chunk::<HEADER>() else {
        return false;
    };
    let side = |at| u16_le(&header, at).unwrap_or(0);
    header[1] <= 1
        && matches!(header[2] & !8, 1..=3)
        && header[2] < 12
        && side(12) > 0
        && side(14) > 0
        && matches!(header[16], 1 | 8 | 16 | 24 | 32)
        && (header[1] == 0 || matches!(header[7], 16 | 24 | 32))
        && !is_anothers(bytes, &header)
}

/// Whether the beginning is also that of a format that Pillow tries before: some it then reads, of others it fails.
fn is_anothers(bytes: &[u8], header: &[u8; HEADER]) -> bool {
    let word = |at| u32::from(u16_le(header, at).unwrap_or(0));
    let cursor = header.starts_with(b"\0\0\x02\0") && word(4) > 0;
    let pcx = header.starts_with(b"\x0a\0") && word(8) + 1 > word(4) && word(10) + 1 > word(6);
    let fli = matches!(word(4), 0xaf11 | 0xaf12) && word(14) == 3;
    let avif = header[4..8] == *b"ftyp";
    let iptc = header.starts_with(b"\x1c\x01");
    let photo_cd = bytes.get(2048..).is_some_and(|b| b.starts_with(b"PCD_"));
    // IFUNC's headers are lines of "Name: value", those of IM Tools of "name value" and of comments.
    let has = |byte: u8| bytes[..bytes.len().min(100)].contains(&byte);
    let lines = has(b'\n')
        && (header[0].is_ascii_alphabetic() && has(b':') || matches!(header[0], b' ' | b'*'));
    cursor || pcx && bytes.len() >= 68 || fli || avif || iptc || photo_cd || lines
}

/// What a stored pixel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pixel {
    /// A bit of grey.
    Bit,
    /// A byte of grey.
    Gray,
    /// Grey and alpha.
    GrayAlpha,
    /// An index of the colour map.
    Index,
    /// 5 bits of each colour.
    Word,
    /// Blue, green, red.
    Bgr,
    /// Blue, green, red, alpha.
    Bgra,
}

impl Pixel {
    fn bits(self) -> usize {
        match self {
            Self::Bit => 1,
            Self::Gray | Self::Index => 8,
            Self::GrayAlpha | Self::Word => 16,
            Self::Bgr => 24,
            Self::Bgra => 32,
        }
    }

    /// Bytes that are kept.
    fn kept(self) -> usize {
        match self {
            Self::Bit | Self::Gray | Self::GrayAlpha | Self::Index => 1,
            Self::Word | Self::Bgr | Self::Bgra => 3,
        }
    }

    fn unpack(self, row: &[u8], out: &mut [u8]) {
        match self {
            Self::Bit => unpack(row, 1, 255, out),
            Self::Gray | Self::Index => out.copy_from_slice(row),
            Self::GrayAlpha => {
                let pixels = row.as_chunks::<2>().0.iter();
                out.iter_mut()
                    .zip(pixels)
                    .for_each(|(out, &[v, _])| *out = v);
            }
            Self::Word => colors::<2>(row, out, word),
            Self::Bgr => colors::<3>(row, out, |[b, g, r]| [r, g, b]),
            Self::Bgra => colors::<4>(row, out, |[b, g, r, _]| [r, g, b]),
        }
    }
}

fn colors<const SIZE: usize>(row: &[u8], out: &mut [u8], color: impl Fn([u8; SIZE]) -> [u8; 3]) {
    let pixels = row.as_chunks::<SIZE>().0;
    for (out, &pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
        *out = color(pixel);
    }
}

/// The colour of a little-endian word of 1 + 5 + 5 + 5 bits.
fn word(bytes: [u8; 2]) -> [u8; 3] {
    let word = u32::from(u16::from_le_bytes(bytes));
    [10, 5, 0].map(|shift| ((word >> shift & 31) * 255 / 31) as u8)
}

struct Header<'a> {
    width: usize,
    height: usize,
    pixel: Pixel,
    run_lengths: bool,
    top_down: bool,
    mirrored: bool,
    palette: Option<Box<Palette>>,
    data: &'a [u8],
}

fn unsupported<T>(detail: impl Into<String>) -> Result<T> {
    Err(Error::unsupported(FORMAT, detail))
}

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    let side = |at| u16_le(bytes, at).map(u64::from);
    let sides = side(12).zip(side(14));
    sides.ok_or_else(|| Error::truncated(FORMAT, "the file ends inside the header"))
}

fn header(bytes: &[u8]) -> Result<Header<'_>> {
    let Some(&head) = bytes.first_chunk::<HEADER>() else {
        return Err(Error::truncated(FORMAT, "the file ends inside the header"));
    };
    let word = |at| usize::from(u16_le(&head, at).unwrap_or(0));
    let (mapped, kind, depth) = (head[1] == 1, head[2], head[16]);
    let pixel = match (kind & 7, depth) {
        (1, 8) if mapped => Pixel::Index,
        (3, 1) if !mapped => Pixel::Bit,
        (3, 8) => Pixel::Gray,
        (3, 16) => Pixel::GrayAlpha,
        (2, 16) if !mapped => Pixel::Word,
        (2, 24) if !mapped => Pixel::Bgr,
        (2, 32) if !mapped => Pixel::Bgra,
        _ => {
            let map = if mapped { "with" } else { "without" };
            return unsupported(format!("type {kind} of {depth} bits {map} a colour map"));
        }
    };
    let map_at = HEADER + usize::from(head[0]);
    let entry = usize::from(head[7] / 8);
    let map_len = if mapped { entry * word(5) } else { 0 };
    let rest = |at: usize| bytes.get(at..).unwrap_or_default();
    let map = rest(map_at);
    let palette = match mapped {
        true => Some(palette(word(3), entry, &map[..map.len().min(map_len)])?),
        false => None,
    };
    Ok(Header {
        width: word(12),
        height: word(14),
        pixel,
        run_lengths: kind & 8 != 0,
        top_down: head[17] & 0x20 != 0,
        mirrored: head[17] & 0x10 != 0,
        palette,
        data: rest(map_at + map_len),
    })
}

/// The colour map, whose first entries may be left out.
fn palette(first: usize, entry: usize, bytes: &[u8]) -> Result<Box<Palette>> {
    let count = first + bytes.len() / entry;
    if count > 256 {
        return Err(Error::corrupt(
            FORMAT,
            format!("a colour map of {count} colours"),
        ));
    }
    let left_out = std::iter::repeat_n([0; 3], first);
    let colors = bytes.chunks_exact(entry).map(|color| match *color {
        [low, high] => word([low, high]),
        [b, g, r, ..] => [r, g, b],
        _ => [0; 3],
    });
    Ok(Palette::new(left_out.chain(colors)))
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let header = header(bytes)?;
    // What is kept, and the RGB made of it if it is one byte; a row as it is stored.
    let pixels = (header.width * header.height) as u64;
    let row = (header.width * header.pixel.bits().div_ceil(8)) as u64;
    limits.check_memory(FORMAT, 4 * pixels + row)?;
    let has_alpha = matches!(header.pixel, Pixel::Word | Pixel::Bgra);
    if has_alpha && bytes.len() < FOOTER {
        return unsupported(
            "alpha in fewer than 26 bytes, which Pillow reads from memory but not from a file",
        );
    }
    let (width, height) = (header.width as u32, header.height as u32);
    let data = match header.run_lengths {
        true => header.run_lengths()?,
        false => header.rows()?,
    };
    let samples = match (header.palette, header.pixel) {
        (Some(palette), Pixel::Gray) => Samples::GrayWithPalette(data, palette),
        (Some(palette), _) => Samples::Palette(data, palette),
        (None, pixel) if pixel.kept() == 3 => Samples::Rgb(data),
        (None, _) => Samples::Luma(data),
    };
    Ok(Raster {
        width,
        height,
        samples,
    })
}

/// Rows as they come, put where they belong.
struct Canvas<'a> {
    header: &'a Header<'a>,
    data: Vec<u8>,
    /// Rows that are there.
    rows: usize,
}

impl Canvas<'_> {
    fn put(&mut self, row: &[u8]) {
        let (header, pixel) = (self.header, self.header.pixel);
        let y = match header.top_down {
            true => self.rows,
            false => header.height - 1 - self.rows,
        };
        let stride = header.width * pixel.kept();
        let out = &mut self.data[y * stride..][..stride];
        pixel.unpack(row, out);
        match (header.mirrored, pixel.kept()) {
            (false, _) => {}
            (true, 1) => out.reverse(),
            (true, _) => out.as_chunks_mut::<3>().0.reverse(),
        }
        self.rows += 1;
    }
}

impl Header<'_> {
    fn stride(&self) -> usize {
        (self.width * self.pixel.bits()).div_ceil(8)
    }

    fn canvas(&self) -> Result<Canvas<'_>> {
        Ok(Canvas {
            header: self,
            data: filled(self.width * self.height * self.pixel.kept(), 0)?,
            rows: 0,
        })
    }

    fn too_few(&self, rows: usize) -> Error {
        Error::truncated(FORMAT, format!("{rows} rows of {}", self.height))
    }

    fn rows(&self) -> Result<Vec<u8>> {
        let stride = self.stride();
        let Some(data) = self.data.get(..stride * self.height) else {
            return Err(self.too_few(self.data.len() / stride));
        };
        let mut canvas = self.canvas()?;
        data.chunks_exact(stride).for_each(|row| canvas.put(row));
        Ok(canvas.data)
    }

    /// Packets of up to 128 pixels.
    fn run_lengths(&self) -> Result<Vec<u8>> {
        let size = self.pixel.bits() / 8;
        if size == 0 {
            return unsupported("run lengths of bits");
        }
        let mut packets = Packets {
            canvas: self.canvas()?,
            row: filled(self.stride(), 0)?,
            x: 0,
        };
        let mut data = self.data;
        while packets.canvas.rows < self.height {
            let packet = data.split_first().and_then(|(&count, rest)| {
                let (is_run, len) = (count & 0x80 != 0, size * (usize::from(count & 0x7f) + 1));
                let (pixels, rest) = rest.split_at_checked(if is_run { size } else { len })?;
                Some((is_run, len, pixels, rest))
            });
            let Some((is_run, len, pixels, rest)) = packet else {
                return Err(self.too_few(packets.canvas.rows));
            };
            data = rest;
            match is_run {
                true => packets.run(pixels, len)?,
                false => packets.literal(pixels),
            }
        }
        Ok(packets.canvas.data)
    }
}

/// The row that packets are filling.
struct Packets<'a> {
    canvas: Canvas<'a>,
    row: Vec<u8>,
    /// Bytes of it that are there.
    x: usize,
}

impl Packets<'_> {
    fn advance(&mut self, len: usize) {
        self.x += len;
        if self.x == self.row.len() {
            self.canvas.put(&self.row);
            self.x = 0;
        }
    }

    /// One pixel, `len` bytes of it; it may not go past its row.
    fn run(&mut self, pixel: &[u8], len: usize) -> Result<()> {
        let Some(row) = self.row.get_mut(self.x..self.x + len) else {
            return Err(Error::corrupt(FORMAT, "a run that goes past its row"));
        };
        let pixels = row.chunks_exact_mut(pixel.len());
        pixels.for_each(|out| out.copy_from_slice(pixel));
        self.advance(len);
        Ok(())
    }

    /// Pixels as they are, which may go on in the rows after it.
    fn literal(&mut self, mut pixels: &[u8]) {
        while !pixels.is_empty() && self.canvas.rows < self.canvas.header.height {
            let room = self.row.len() - self.x;
            let (now, later) = pixels.split_at(pixels.len().min(room));
            self.row[self.x..][..now.len()].copy_from_slice(now);
            self.advance(now.len());
            pixels = later;
        }
    }
}
