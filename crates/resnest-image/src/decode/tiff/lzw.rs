//! LZW as TIFF has it, with libtiff's answers to damage (`LZWDecode`).

use super::FORMAT;
use crate::{Error, Result};

const CLEAR: usize = 256;
const END: usize = 257;
const FIRST: usize = 258;
/// Entries that libtiff has room for; no code names those from 4096 on.
const TABLE: usize = 4095 + 1024;

/// Codes, most significant bit first.
struct Bits<'a> {
    bytes: std::slice::Iter<'a, u8>,
    buffer: u32,
    count: u32,
}

impl Bits<'_> {
    /// The next code; the end code when the data is over.
    fn code(&mut self, size: u32) -> usize {
        while self.count < size {
            let Some(&byte) = self.bytes.next() else {
                return END;
            };
            self.buffer = self.buffer << 8 | u32::from(byte);
            self.count += 8;
        }
        self.count -= size;
        (self.buffer >> self.count) as usize & ((1 << size) - 1)
    }
}

/// Strings by code: a code's string is its prefix's and one more byte.
struct Table {
    prefix: [u16; TABLE],
    last: [u8; TABLE],
    first: [u8; TABLE],
    len: [u16; TABLE],
}

impl Table {
    fn new() -> Box<Self> {
        let mut table = Box::new(Self {
            prefix: [0; TABLE],
            last: [0; TABLE],
            first: [0; TABLE],
            len: [1; TABLE],
        });
        for byte in 0..=255u8 {
            table.last[usize::from(byte)] = byte;
            table.first[usize::from(byte)] = byte;
        }
        table
    }

    /// Writes a code's string to the front of `out`, as far as there is room; its length.
    fn write(&self, mut code: usize, out: &mut [u8]) -> usize {
        let len = usize::from(self.len[code]);
        for at in (0..len).rev() {
            if let Some(out) = out.get_mut(at) {
                *out = self.last[code];
            }
            code = usize::from(self.prefix[code]);
        }
        len
    }
}

/// Expands `chunk` into `out`; how many bytes of it are filled.
pub(super) fn expand(chunk: &[u8], out: &mut [u8]) -> Result<usize> {
    if let [0, second, ..] = chunk
        && second & 1 == 1
    {
        return Err(Error::unsupported(FORMAT, "old-style LZW compression"));
    }
    let corrupt = |code| {
        Err(Error::corrupt(
            FORMAT,
            format!("LZW code {code} is not yet known"),
        ))
    };
    let mut bits = Bits {
        bytes: chunk.iter(),
        buffer: 0,
        count: 0,
    };
    let mut table = Table::new();
    let (mut size, mut filled) = (9, 0);
    // The next entry, once there was a clear code, and the code before.
    let mut next = None;
    let mut before = 0;
    while filled < out.len() {
        let mut code = bits.code(size);
        if code == CLEAR {
            size = 9;
            while code == CLEAR {
                code = bits.code(size);
            }
            match code {
                END => break,
                0..=255 => {}
                _ => return corrupt(code),
            }
            next = Some(FIRST);
        } else {
            let Some(entry) = next.filter(|&next| code != END && code <= next) else {
                if code == END {
                    break;
                }
                return corrupt(code);
            };
            table.prefix[entry] = before as u16;
            table.first[entry] = table.first[before];
            table.len[entry] = table.len[before] + 1;
            table.last[entry] = table.first[if code == entry { before } else { code }];
            next = Some(entry + 1).filter(|&next| next < TABLE);
            if entry + 1 > (1 << size) - 2 && size < 12 {
                size += 1;
            }
        }
        filled = (filled + table.write(code, &mut out[filled..])).min(out.len());
        before = code;
    }
    Ok(filled)
}
