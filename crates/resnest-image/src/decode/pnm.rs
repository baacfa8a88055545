//! PBM, PGM, PPM and PFM, by the rules of Pillow's `PpmImagePlugin`: its tokens, its comments, its scaling of samples.

use super::bytes::unpack;
use super::pnm_plain;
use super::raster::{Palette, Raster, Samples};
use crate::memory::{filled, reserved};
use crate::{Error, Format, Limits, Result};

pub(super) const FORMAT: Format = Format::Pnm;

/// What Pillow takes for the end of a word.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// What the magic number says of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One bit, 1 is black.
    Bit,
    /// Grey; of more than a byte it is Pillow's "I", which it clips to one.
    Gray,
    /// Three samples.
    Rgb,
    /// Four samples, which Pillow has for its own tests.
    Cmyk,
    /// Four samples, the last of which is alpha; likewise.
    Rgba,
    /// Indices without a palette, which are all black to Pillow; likewise.
    Index,
    /// One f32, the rows from bottom to top.
    Float,
}

impl Kind {
    fn samples(self) -> usize {
        match self {
            Self::Bit | Self::Gray | Self::Index | Self::Float => 1,
            Self::Rgb => 3,
            Self::Cmyk | Self::Rgba => 4,
        }
    }
}

/// Magic number, kind, and whether samples are written in decimal.
const MAGIC: [(&[u8], Kind, bool); 11] = [
    (b"P1", Kind::Bit, true),
    (b"P2", Kind::Gray, true),
    (b"P3", Kind::Rgb, true),
    (b"P4", Kind::Bit, false),
    (b"P5", Kind::Gray, false),
    (b"P6", Kind::Rgb, false),
    (b"P0CMYK", Kind::Cmyk, false),
    (b"Pf", Kind::Float, false),
    (b"PyP", Kind::Index, false),
    (b"PyRGBA", Kind::Rgba, false),
    (b"PyCMYK", Kind::Cmyk, false),
];

/// The kind, and where the header goes on: after a white space, or after six bytes.
fn magic(bytes: &[u8]) -> Option<(Kind, bool, usize)> {
    let head = &bytes[..bytes.len().min(6)];
    let end = head.iter().position(|&byte| is_space(byte));
    let word = &head[..end.unwrap_or(head.len())];
    let &(_, kind, plain) = MAGIC.iter().find(|(magic, ..)| *magic == word)?;
    Some((kind, plain, end.map_or(head.len(), |end| end + 1)))
}

/// Whether Pillow takes this for a PNM.
pub(super) fn accepts(bytes: &[u8]) -> bool {
    magic(bytes).is_some()
}

fn corrupt<T>(detail: impl Into<String>) -> Result<T> {
    Err(Error::corrupt(FORMAT, detail))
}

struct Header<'a> {
    kind: Kind,
    plain: bool,
    width: u64,
    height: u64,
    /// The largest sample; 1 of bits and floats.
    maxval: u32,
    little_endian: bool,
    data: &'a [u8],
}

/// Words of the header.
struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Words<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    /// Up to ten bytes; a comment inside a word does not end it.
    fn word(&mut self) -> Result<Vec<u8>> {
        let mut word = Vec::new();
        while word.len() <= 10 {
            match self.byte() {
                None => break,
                Some(byte) if is_space(byte) && word.is_empty() => {}
                Some(byte) if is_space(byte) => break,
                Some(b'#') => while !matches!(self.byte(), None | Some(b'\r' | b'\n')) {},
                Some(byte) => word.push(byte),
            }
        }
        match word.len() {
            0 => Err(Error::truncated(FORMAT, "the file ends inside the header")),
            1..=10 => Ok(word),
            _ => corrupt("a number of more than ten digits in the header"),
        }
    }

    fn integer(&mut self) -> Result<i64> {
        let word = self.word()?;
        let not_one = || corrupt(format!("\"{}\" is no whole number", word.escape_ascii()));
        integer(&word).map_or_else(not_one, Ok)
    }

    fn side(&mut self) -> Result<u64> {
        let side = self.integer()?;
        let bad = |_| Error::corrupt(FORMAT, format!("a side of {side} pixels"));
        u64::try_from(side).map_err(bad)
    }
}

/// Python's `int` of bytes without white space: a sign, and single underscores between digits.
pub(super) fn integer(word: &[u8]) -> Option<i64> {
    let (negative, digits) = match word {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let mut value = 0i64;
    for group in digits.split(|&byte| byte == b'_') {
        if group.is_empty() {
            return None;
        }
        for &digit in group {
            let digit = char::from(digit).to_digit(10)?;
            value = value.checked_mul(10)?.checked_add(i64::from(digit))?;
        }
    }
    Some(if negative { -value } else { value })
}

/// Python's `float` of bytes without white space, where it is finite and not 0.
fn scale(word: &[u8]) -> Option<f64> {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let between = |at: usize| at > 0 && digit(word.get(at - 1)) && digit(word.get(at + 1));
    let mut text = String::new();
    for (at, &byte) in word.iter().enumerate() {
        match byte {
            b'_' if between(at) => {}
            b'_' => return None,
            byte => text.push(char::from(byte)),
        }
    }
    let scale: f64 = text.parse().ok()?;
    (scale.is_finite() && scale != 0.0).then_some(scale)
}

fn header(bytes: &[u8]) -> Result<Header<'_>> {
    let Some((kind, plain, at)) = magic(bytes) else {
        return corrupt("no magic number");
    };
    let mut words = Words { bytes, at };
    let (width, height) = (words.side()?, words.side()?);
    let (mut maxval, mut little_endian) = (1, false);
    match kind {
        Kind::Bit => {}
        Kind::Float => {
            let word = words.word()?;
            let Some(scale) = scale(&word) else {
                return corrupt(format!("a scale of \"{}\"", word.escape_ascii()));
            };
            little_endian = scale < 0.0;
        }
        _ => match words.integer()? {
            value @ 1..=65535 => maxval = value as u32,
            value => return corrupt(format!("a largest sample of {value}")),
        },
    }
    Ok(Header {
        kind,
        plain,
        width,
        height,
        maxval,
        little_endian,
        data: &bytes[words.at..],
    })
}

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    let header = header(bytes)?;
    Ok((header.width, header.height))
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let header = header(bytes)?;
    let pixels = header.width * header.height;
    // What is kept, and the RGB made of it; a block of words, what is left of it without
    // comments, and that behind the end of the one before.
    let kept = header.kind.samples() as u64;
    let made = if header.kind == Kind::Rgb { 0 } else { 3 };
    let words = match header.plain {
        true => 3 * (header.data.len() as u64).min(pnm_plain::BLOCK as u64),
        false => 0,
    };
    limits.check_memory(FORMAT, (kept + made) * pixels + words)?;
    Ok(Raster {
        width: header.width as u32,
        height: header.height as u32,
        samples: header.samples()?,
    })
}

impl Header<'_> {
    fn samples(&self) -> Result<Samples> {
        let pixels = self.width as usize * self.height as usize;
        let len = pixels * self.kind.samples();
        let data = match (self.kind, self.plain) {
            (Kind::Bit, true) => pnm_plain::bits(self.data, len)?,
            (Kind::Bit, false) => self.bits()?,
            (Kind::Float, _) => self.floats()?,
            (_, true) => pnm_plain::values(self.data, self.maxval, len, |v| self.scaled(v))?,
            (_, false) => self.values(len)?,
        };
        Ok(match self.kind {
            Kind::Bit | Kind::Gray | Kind::Float => Samples::Luma(data),
            Kind::Index => Samples::Palette(data, Palette::new([])),
            Kind::Rgb => Samples::Rgb(data),
            Kind::Cmyk => Samples::Cmyk(data),
            Kind::Rgba => {
                let mut out = reserved(pixels * 3)?;
                let colors = data.as_chunks::<4>().0;
                out.extend(colors.iter().flat_map(|&[r, g, b, _]| [r, g, b]));
                Samples::Rgb(out)
            }
        })
    }

    /// A sample as Pillow stretches it, in f64 and rounded to even: to a byte, or of deep grey to 16 bits, clipped to a
    /// byte when it is converted.
    fn scaled(&self, value: u32) -> u8 {
        let most = if self.is_deep_gray() { 65535.0 } else { 255.0 };
        let stretched = f64::from(value) / f64::from(self.maxval) * most;
        stretched.round_ties_even().min(255.0) as u8
    }

    fn is_deep_gray(&self) -> bool {
        self.kind == Kind::Gray && self.maxval > 255
    }

    /// The first `len` bytes, if they are there.
    fn bytes(&self, len: usize) -> Result<&[u8]> {
        self.data.get(..len).ok_or_else(|| {
            let have = self.data.len();
            Error::truncated(FORMAT, format!("{have} bytes of {len}"))
        })
    }

    fn bits(&self) -> Result<Vec<u8>> {
        let (width, height) = (self.width as usize, self.height as usize);
        let stride = width.div_ceil(8);
        let data = self.bytes(stride * height)?;
        let mut out = filled(width * height, 0)?;
        let rows = data.chunks_exact(stride);
        for (out, row) in out.chunks_exact_mut(width).zip(rows) {
            unpack(row, 1, 255, out);
            out.iter_mut().for_each(|v| *v = !*v);
        }
        Ok(out)
    }

    fn values(&self, len: usize) -> Result<Vec<u8>> {
        let mut out = reserved(len)?;
        match self.maxval {
            255 => out.extend_from_slice(self.bytes(len)?),
            0..=254 => {
                let bytes = self.bytes(len)?.iter();
                out.extend(bytes.map(|&v| self.scaled(v.into())));
            }
            _ => {
                let words = self.bytes(len * 2)?.as_chunks::<2>().0.iter();
                out.extend(words.map(|&v| self.scaled(u16::from_be_bytes(v).into())));
            }
        }
        Ok(out)
    }

    /// Clipped to a byte, and cut; the largest that is no number is 0.
    fn floats(&self) -> Result<Vec<u8>> {
        let (width, height) = (self.width as usize, self.height as usize);
        let data = self.bytes(width * height * 4)?;
        let mut out = reserved(width * height)?;
        for row in data.chunks_exact(width * 4).rev() {
            out.extend(
                row.as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&bytes| match self.little_endian {
                        true => f32::from_le_bytes(bytes) as u8,
                        false => f32::from_be_bytes(bytes) as u8,
                    }),
            );
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::{integer, scale};

    #[test]
    fn numbers_are_pythons() {
        let integers = [
            "7", "+07", "-3", "1_0", "1__0", "_1", "1_", "", "+", "0x1", "1.0",
        ];
        let expected = [Some(7), Some(7), Some(-3), Some(10)];
        let expected = expected.into_iter().chain([None; 7]);
        assert!((integers.iter().map(|w| integer(w.as_bytes()))).eq(expected));
        let floats = [
            "-1.0", "1_0e0", "+.5", "0", "-0.0", "nan", "inf", "1e999", "_1", "1_e1", "x",
        ];
        let expected = [Some(-1.0), Some(10.0), Some(0.5)];
        let expected = expected.into_iter().chain([None; 8]);
        assert!((floats.iter().map(|w| scale(w.as_bytes()))).eq(expected));
    }
}
