//! Huffman tables made ready for decoding (T.81 C.2 and F.2.2.3, `jdhuff.c`).

use super::FORMAT;
use super::markers::{HuffmanSpec, Stream};
use crate::{Error, Result};

/// Bits looked up at once.
pub(super) const LOOKAHEAD: u32 = 8;

/// A table ready for decoding.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// By the next [`LOOKAHEAD`] bits: length of the code in the high byte, its symbol in the low one; a
    /// length of `LOOKAHEAD + 1` is a longer code.
    pub lookup: [u16; 1 << LOOKAHEAD],
    /// Largest code of each length, -1 where there is none; item 17 ends every search.
    pub largest: [i32; 18],
    /// What to add to a code of each length for the index of its symbol.
    offset: [i32; 18],
    values: [u8; 256],
}

fn bad(what: &str) -> Error {
    Error::corrupt(FORMAT, format!("a Huffman table {what}"))
}

impl Table {
    /// # Errors
    /// Codes that are no prefix code, and in a table of DC sizes ones over 15.
    pub fn new(spec: &HuffmanSpec, is_dc: bool, is_lossless: bool) -> Result<Self> {
        let mut table = Self {
            lookup: [((LOOKAHEAD + 1) << 8) as u16; 1 << LOOKAHEAD],
            largest: [-1; 18],
            offset: [0; 18],
            values: spec.values,
        };
        table.largest[17] = i32::MAX;
        let (mut code, mut index) = (0i32, 0usize);
        for length in 1..=16 {
            let count = usize::from(spec.counts[length]);
            table.offset[length] = index as i32 - code;
            for _ in 0..count {
                if length as u32 <= LOOKAHEAD {
                    let symbol = spec.values.get(index).copied().unwrap_or_default();
                    table.look_up(code, length as u32, symbol);
                }
                code += 1;
                index += 1;
            }
            if count > 0 {
                table.largest[length] = code - 1;
            }
            // No code is all ones.
            if index > 0 && code >= 1 << length {
                return Err(bad("is no prefix code"));
            }
            code <<= 1;
        }
        let most = if is_lossless { 16 } else { 15 };
        let values = spec.values.get(..index).ok_or_else(|| bad("is too long"))?;
        if is_dc && values.iter().any(|&size| size > most) {
            return Err(bad("has a DC size that is too large"));
        }
        Ok(table)
    }

    fn look_up(&mut self, code: i32, length: u32, symbol: u8) {
        let spare = LOOKAHEAD - length;
        let start = (code as usize) << spare;
        if let Some(entries) = self.lookup.get_mut(start..start + (1 << spare)) {
            entries.fill((length << 8) as u16 | u16::from(symbol));
        }
    }

    /// The symbol of a code of `length` bits that is not over the largest.
    pub fn symbol(&self, code: i32, length: usize) -> u8 {
        self.values[(code + self.offset[length]) as usize & 255]
    }
}

/// The table of an index, made ready.
pub(super) fn table(stream: &Stream<'_>, is_dc: bool, index: usize) -> Result<Table> {
    let tables = if is_dc {
        &stream.dc_huffman
    } else {
        &stream.ac_huffman
    };
    let Some(spec) = tables.get(index).and_then(Option::as_ref) else {
        let kind = if is_dc { "DC" } else { "AC" };
        return Err(bad(&format!("({kind} {index}) is missing")));
    };
    let lossless = stream.frame.as_ref().is_some_and(|f| f.coding.lossless);
    Table::new(spec, is_dc, lossless)
}

/// Puts the tables of T.81 K.3 where the file, a frame of Motion JPEG for one, has none.
pub(super) fn install_standard(stream: &mut Stream<'_>) {
    for (slot, counts) in stream.dc_huffman.iter_mut().zip([DC_LUMA, DC_CHROMA]) {
        let sizes: Vec<u8> = (0..12).collect();
        slot.get_or_insert_with(|| spec(&counts, &sizes));
    }
    let ac = [(AC_LUMA, &AC_LUMA_VALUES), (AC_CHROMA, &AC_CHROMA_VALUES)];
    for (slot, (counts, values)) in stream.ac_huffman.iter_mut().zip(ac) {
        slot.get_or_insert_with(|| spec(&counts, values));
    }
}

fn spec(counts: &[u8; 16], values: &[u8]) -> HuffmanSpec {
    let mut spec = HuffmanSpec {
        counts: [0; 17],
        values: [0; 256],
    };
    spec.counts[1..].copy_from_slice(counts);
    spec.values[..values.len()].copy_from_slice(values);
    spec
}

const DC_LUMA: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
const DC_CHROMA: [u8; 16] = [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0];
const AC_LUMA: [u8; 16] = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d];
const AC_CHROMA: [u8; 16] = [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77];

/// T.81 table K.5's symbols, in the order of their codes.
#[rustfmt::skip]
const AC_LUMA_VALUES: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

/// T.81 table K.6's symbols, in the order of their codes.
#[rustfmt::skip]
const AC_CHROMA_VALUES: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
    0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];
