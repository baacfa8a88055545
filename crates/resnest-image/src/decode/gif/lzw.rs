//! The compressed indices of a GIF's frame, with Pillow's answers to damage (`GifDecode.c`).
//!
//! They differ from any crate's: codes may begin without a clear code, a block of no bytes is no end, and
//! an end code only makes Pillow read on, which fails where the file is over.

use super::FORMAT;
use crate::memory::filled;
use crate::{Error, Result};

/// Pillow reads a file in parts of this many bytes.
const PART: usize = 65_536;

/// Codes have at most this many bits, and there are as many as they can name.
const MAX_BITS: u32 = 12;
const TABLE: usize = 1 << MAX_BITS;

/// The bits of sub-blocks, whose chain begins `bytes`.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How far Pillow has read.
    read: usize,
    /// Bytes left of the block.
    block: usize,
    buffer: u32,
    count: u32,
}

impl Bits<'_> {
    /// Reads another part of the file.
    fn read_on(&mut self) -> Option<()> {
        let before = self.read;
        self.read = (self.read + PART).min(self.bytes.len());
        (self.read > before).then_some(())
    }

    /// The next code; nothing when the file ends before.
    fn code(&mut self, size: u32) -> Option<usize> {
        while self.count < size {
            if self.block == 0 {
                // Only whole blocks are begun.
                while self.read == self.at
                    || usize::from(self.bytes[self.at]) >= self.read - self.at
                {
                    self.read_on()?;
                }
                self.block = usize::from(self.bytes[self.at]);
                self.at += 1;
                continue;
            }
            self.buffer |= u32::from(self.bytes[self.at]) << self.count;
            self.count += 8;
            self.at += 1;
            self.block -= 1;
        }
        let code = self.buffer & ((1 << size) - 1);
        self.buffer >>= size;
        self.count -= size;
        Some(code as usize)
    }
}

/// What codes stand for: a code's string is its prefix's and one more index.
struct Table {
    prefix: [u16; TABLE],
    last: [u8; TABLE],
    /// Length of the string.
    len: [u16; TABLE],
}

impl Table {
    /// Writes the string of `code` to the front of `out`, as far as there is room; its length and first index.
    fn write(&self, mut code: usize, clear: usize, out: &mut [u8]) -> (usize, u8) {
        let len = if code < clear {
            1
        } else {
            usize::from(self.len[code])
        };
        for at in (1..len).rev() {
            if let Some(out) = out.get_mut(at) {
                *out = self.last[code];
            }
            code = usize::from(self.prefix[code]);
        }
        if let Some(out) = out.first_mut() {
            *out = code as u8;
        }
        (len, code as u8)
    }
}

/// The first `total` indices, in the order of the data; `bits` is the byte before the sub-blocks.
pub(super) fn indices(bytes: &[u8], bits: u8, total: usize) -> Result<Vec<u8>> {
    if u32::from(bits) > MAX_BITS {
        return Err(Error::corrupt(FORMAT, format!("LZW code size {bits}")));
    }
    let mut out = filled(total, 0)?;
    let mut input = Bits {
        bytes,
        at: 0,
        read: 0,
        block: 0,
        buffer: 0,
        count: 0,
    };
    let filled = decode(&mut input, u32::from(bits), &mut out)?;
    if filled < total {
        let detail = format!("{filled} pixels of {total}");
        return Err(Error::truncated(FORMAT, detail));
    }
    Ok(out)
}

/// Fills `out` as far as the file goes; how far that is.
fn decode(input: &mut Bits, bits: u32, out: &mut [u8]) -> Result<usize> {
    let clear = 1usize << bits;
    let mut table = Box::new(Table {
        prefix: [0; TABLE],
        last: [0; TABLE],
        len: [0; TABLE],
    });
    let (mut next, mut size) = (clear + 2, bits + 1);
    // The code before, and the first index of its string.
    let mut before: Option<(usize, u8)> = None;
    let mut filled = 0;
    while filled < out.len() {
        let Some(code) = input.code(size) else {
            return Ok(filled);
        };
        if code == clear {
            (next, size, before) = (clear + 2, bits + 1, None);
            continue;
        }
        if code == clear + 1 {
            if input.read_on().is_none() {
                return Ok(filled);
            }
            continue;
        }
        let known = before.map_or(clear, |_| next + 1);
        let whole = if code == next {
            before.map(|b| b.0)
        } else {
            Some(code)
        };
        let Some(whole) = whole.filter(|&whole| code < known && (whole < clear || whole < TABLE))
        else {
            let detail = format!("LZW code {code} of {known}");
            return Err(Error::corrupt(FORMAT, detail));
        };
        let room = &mut out[filled..];
        let (mut len, first) = table.write(whole, clear, room);
        if code == next {
            // The one that is being defined: the string before and its own first index.
            if let (Some(out), Some((_, first))) = (room.get_mut(len), before) {
                *out = first;
            }
            len += 1;
        }
        if let Some((prefix, _)) = before
            && next < TABLE
        {
            let prefix_len = if prefix < clear { 1 } else { table.len[prefix] };
            (table.prefix[next], table.last[next]) = (prefix as u16, first);
            table.len[next] = prefix_len + 1;
            if next == (1 << size) - 1 && size < MAX_BITS {
                size += 1;
            }
            next += 1;
        }
        before = Some((code, first));
        filled = (filled + len).min(out.len());
    }
    Ok(filled)
}
