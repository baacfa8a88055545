//! How the strips and tiles of a TIFF are compressed.

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{FORMAT, lzw};
use crate::{Error, Result};

/// Compressions that are read; the number is the tag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
}

impl Compression {
    pub fn new(tag: u64) -> Result<Self> {
        let name = match tag {
            1 => return Ok(Self::None),
            5 => return Ok(Self::Lzw),
            8 | 32946 => return Ok(Self::Deflate),
            32773 => return Ok(Self::PackBits),
            2..=4 | 32771 => "CCITT fax",
            6 | 7 => "JPEG",
            34925 => "LZMA",
            50000 => "Zstandard",
            50001 => "WebP",
            _ => "unknown",
        };
        Err(Error::unsupported(
            FORMAT,
            format!("{name} compression ({tag})"),
        ))
    }

    /// Expands a chunk, which must fill `out`.
    pub fn expand(self, chunk: &[u8], out: &mut [u8]) -> Result<()> {
        let filled = match self {
            Self::None => copied(chunk, out),
            Self::Lzw => lzw::expand(chunk, out)?,
            Self::Deflate => deflate(chunk, out)?,
            Self::PackBits => pack_bits(chunk, out),
        };
        if filled < out.len() {
            return Err(Error::truncated(
                FORMAT,
                format!("a strip has {filled} bytes of {}", out.len()),
            ));
        }
        Ok(())
    }
}

fn copied(chunk: &[u8], out: &mut [u8]) -> usize {
    let filled = chunk.len().min(out.len());
    out[..filled].copy_from_slice(&chunk[..filled]);
    filled
}

/// The checksum counts as far as zlib looks for it while it fills `out`.
fn deflate(chunk: &[u8], out: &mut [u8]) -> Result<usize> {
    let mut inflate = Inflate::new(true, 15);
    loop {
        let (read, filled) = (inflate.total_in() as usize, inflate.total_out() as usize);
        let status = inflate
            .decompress(&chunk[read..], &mut out[filled..], InflateFlush::SyncFlush)
            .map_err(|e| Error::corrupt(FORMAT, format!("zlib: {}", e.as_str())))?;
        let now = inflate.total_out() as usize;
        if status != Status::Ok || now == out.len() || now == filled {
            return Ok(now);
        }
    }
}

fn pack_bits(mut chunk: &[u8], out: &mut [u8]) -> usize {
    let mut filled = 0;
    while let Some((&control, rest)) = chunk.split_first() {
        if filled == out.len() {
            break;
        }
        let room = out.len() - filled;
        match control as i8 {
            -128 => chunk = rest,
            count @ 0.. => {
                let count = (count as usize + 1).min(rest.len());
                let kept = count.min(room);
                out[filled..filled + kept].copy_from_slice(&rest[..kept]);
                filled += kept;
                chunk = &rest[count..];
            }
            count => {
                let Some((&value, rest)) = rest.split_first() else {
                    break;
                };
                let kept = (1 + usize::from(count.unsigned_abs())).min(room);
                out[filled..filled + kept].fill(value);
                filled += kept;
                chunk = rest;
            }
        }
    }
    filled
}

/// Undoes horizontal differencing (predictor 2) of one chunk of rows.
pub(super) fn undo_predictor(
    data: &mut [u8],
    row: usize,
    samples: usize,
    bits: usize,
    big_endian: bool,
) -> Result<()> {
    for row in data.chunks_exact_mut(row) {
        match bits {
            8 => {
                for x in samples..row.len() {
                    row[x] = row[x].wrapping_add(row[x - samples]);
                }
            }
            16 => undo_words(row, samples, big_endian),
            bits => {
                let detail = format!("a predictor on samples of {bits} bits");
                return Err(Error::unsupported(FORMAT, detail));
            }
        }
    }
    Ok(())
}

fn undo_words(row: &mut [u8], samples: usize, big_endian: bool) {
    let (words, _) = row.as_chunks_mut::<2>();
    let read = |word: [u8; 2]| {
        if big_endian {
            u16::from_be_bytes(word)
        } else {
            u16::from_le_bytes(word)
        }
    };
    for x in samples..words.len() {
        let sum = read(words[x]).wrapping_add(read(words[x - samples]));
        words[x] = if big_endian {
            sum.to_be_bytes()
        } else {
            sum.to_le_bytes()
        };
    }
}
