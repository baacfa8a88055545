//! The Huffman decoder for undamaged stretches: several bits of a code and its value in one look-up.
//!
//! It runs only where no marker is near, so that nothing it may do wrong can be met, and keeps account of
//! how far libjpeg would have read ahead (`bits.rs` says why that matters).

use super::bits::{BitState, extend, may_have_ff};
use super::frame::Scan;
use super::huffman::{LOOKAHEAD, Table};
use super::markers::Stream;
use super::sequential::Block;
use super::zigzag::NATURAL;

/// Bits looked up at once.
const WIDE: u32 = 10;

/// The entry is a whole coefficient: its code and its bits.
const WHOLE: u32 = 1 << 15;

/// A table of coefficients by the next [`WIDE`] bits.
///
/// An entry holds, from the lowest bit: 6 bits of length, 4 of the code's size and 4 of its run, [`WHOLE`],
/// and 16 of the value. Without `WHOLE` the length is the code's alone; 0 is a longer code.
#[derive(Debug, Clone)]
pub(super) struct WideTable {
    entries: [u32; 1 << WIDE],
    narrow: Table,
}

impl WideTable {
    pub fn new(narrow: Table, is_dc: bool) -> Self {
        let mut entries = [0; 1 << WIDE];
        for (index, entry) in entries.iter_mut().enumerate() {
            *entry = entry_of(&narrow, index as u32, is_dc);
        }
        Self { entries, narrow }
    }

    pub fn narrow(&self) -> &Table {
        &self.narrow
    }
}

fn entry_of(table: &Table, bits: u32, is_dc: bool) -> u32 {
    let found = table.lookup[(bits >> (WIDE - LOOKAHEAD)) as usize];
    let (length, symbol) = match u32::from(found >> 8) {
        length @ ..=LOOKAHEAD => (length, u32::from(found & 255)),
        _ => {
            let longer = (LOOKAHEAD + 1..=WIDE).find_map(|length| {
                let code = (bits >> (WIDE - length)) as i32;
                (code <= table.largest[length as usize])
                    .then(|| (length, u32::from(table.symbol(code, length as usize))))
            });
            match longer {
                Some(found) => found,
                None => return 0,
            }
        }
    };
    let (run, size) = (symbol >> 4, symbol & 15);
    let known = run << 10 | size << 6;
    if length + size > WIDE || size == 0 && !is_dc {
        return known | length;
    }
    let value = match size {
        0 => 0,
        _ => {
            let value = bits >> (WIDE - length - size) & ((1 << size) - 1);
            extend(value as i32, size)
        }
    };
    (value as u32) << 16 | WHOLE | known | (length + size)
}

/// Where the decoder stands between two MCUs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Swift {
    bits: SwiftBits,
    /// Bits that libjpeg would have in its buffer.
    ahead: u32,
}

impl Swift {
    /// Bytes before the next marker that must be there to each block of an MCU: 64 codes of 16 bits with 15
    /// bits each, every byte stuffed.
    pub const BLOCK: usize = 512;

    /// Bytes that must be there beside them, for what is read ahead.
    pub const MARGIN: usize = 64;

    pub fn enter(stream: &Stream<'_>, state: BitState) -> Self {
        let (buffer, left) = state.top();
        let pos = stream.source.pos;
        Self {
            bits: SwiftBits { pos, buffer, left },
            ahead: left,
        }
    }

    pub fn pos(&self) -> usize {
        self.bits.pos
    }

    /// Gives the state that libjpeg would have.
    pub fn leave(self, stream: &mut Stream<'_>) -> BitState {
        let data = stream.source.piece();
        let byte = |at: usize| data.get(at).copied().unwrap_or_default();
        let Self { bits, ahead } = self;
        let SwiftBits {
            mut pos,
            mut buffer,
            mut left,
        } = bits;
        while left > ahead {
            let stuffed = pos >= 2 && byte(pos - 1) == 0 && byte(pos - 2) == 0xff;
            pos = pos.saturating_sub(if stuffed { 2 } else { 1 });
            left -= 8;
        }
        let spare = 64 - left;
        buffer = buffer.unbounded_shr(spare).unbounded_shl(spare);
        while left < ahead {
            let value = byte(pos);
            pos += if value == 0xff { 2 } else { 1 };
            left += 8;
            buffer |= u64::from(value) << (64 - left);
        }
        stream.source.pos = pos;
        BitState::of_top(buffer, left)
    }

    /// Decodes an MCU; see `Sequential::mcu`. The data must hold no marker for as far as it may reach.
    #[inline(never)]
    pub fn mcu(
        &mut self,
        data: &[u8],
        tables: &[(WideTable, WideTable)],
        dc: &mut [i32; 4],
        scan: &Scan,
        blocks: &mut [Block],
        ac: &mut u32,
    ) {
        let mut bits = self.bits;
        // Bits used, and those of the last code or value.
        let (mut used, mut last) = (0, 0);
        for (i, (place, block)) in scan.blocks.iter().zip(blocks).enumerate() {
            let Some((dc_table, ac_table)) = tables.get(place.slot) else {
                continue;
            };
            let dc = &mut dc[place.slot & 3];
            *dc = dc.wrapping_add(bits.dc_difference(data, dc_table, &mut used));
            block[0] = *dc as i16;
            *ac |=
                u32::from(bits.ac_coefficients(data, ac_table, block, &mut used, &mut last)) << i;
        }
        self.bits = bits;
        self.read_ahead(used, last);
    }

    /// Before each code and each value libjpeg adds 48 bits if it has 16 or fewer. The last time counts.
    fn read_ahead(&mut self, used: u32, last: u32) {
        let before = used - last;
        let short = (before + 17).saturating_sub(self.ahead);
        self.ahead = self.ahead + short.div_ceil(48) * 48 - used;
    }
}

/// Bits read ahead of what is used.
#[derive(Debug, Clone, Copy)]
struct SwiftBits {
    pos: usize,
    /// The next bits, from the top; those past `left` are right or 0.
    buffer: u64,
    left: u32,
}

impl SwiftBits {
    /// Fills to 32 bits and more.
    #[inline(always)]
    fn fill(&mut self, data: &[u8]) {
        if self.left >= 32 {
            return;
        }
        if let Some(&bytes) = data.get(self.pos..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_be_bytes(bytes);
            if !may_have_ff(word) {
                self.buffer |= word >> self.left;
                let bytes = (63 - self.left) >> 3;
                self.pos += bytes as usize;
                self.left += 8 * bytes;
                return;
            }
        }
        self.fill_slowly(data);
    }

    #[cold]
    #[inline(never)]
    fn fill_slowly(&mut self, data: &[u8]) {
        // Nothing past `left`, where what follows is not certain.
        let spare = 64 - self.left;
        self.buffer = self.buffer.unbounded_shr(spare).unbounded_shl(spare);
        while self.left <= 56 {
            let value = data.get(self.pos).copied().unwrap_or_default();
            self.pos += if value == 0xff { 2 } else { 1 };
            self.buffer |= u64::from(value) << (56 - self.left);
            self.left += 8;
        }
    }

    #[inline(always)]
    fn drop(&mut self, count: u32) {
        self.buffer <<= count;
        self.left -= count;
    }

    /// The next `count` bits, 1 to 17.
    #[inline(always)]
    fn peek(&self, count: u32) -> i32 {
        (self.buffer >> (64 - count)) as i32
    }

    /// A code that the wide table does not hold: its length and its symbol.
    #[inline(never)]
    fn long(&self, table: &Table) -> (u32, u32) {
        let mut length = WIDE + 1;
        while self.peek(length) > table.largest[length as usize] {
            length += 1;
        }
        match length {
            ..=16 => (
                length,
                table.symbol(self.peek(length), length as usize).into(),
            ),
            _ => (length, 0),
        }
    }

    /// Code length, run and size by a table's entry.
    #[inline(always)]
    fn code(&self, entry: u32, table: &WideTable) -> (u32, u32, u32) {
        if entry == 0 {
            let (length, symbol) = self.long(&table.narrow);
            return (length, symbol >> 4, symbol & 15);
        }
        (entry & 63, entry >> 10 & 15, entry >> 6 & 15)
    }

    #[inline(always)]
    fn dc_difference(&mut self, data: &[u8], table: &WideTable, used: &mut u32) -> i32 {
        self.fill(data);
        let entry = table.entries[self.peek(WIDE) as usize];
        if entry & WHOLE != 0 {
            self.drop(entry & 63);
            *used += entry & 63;
            return entry as i32 >> 16;
        }
        let (length, _, size) = self.code(entry, table);
        self.drop(length);
        *used += length + size;
        if size == 0 {
            return 0;
        }
        let value = extend(self.peek(size), size);
        self.drop(size);
        value
    }

    /// Decodes a block's AC coefficients; true when there were any. `last` becomes the bits of the last code
    /// or value.
    #[inline(always)]
    fn ac_coefficients(
        &mut self,
        data: &[u8],
        table: &WideTable,
        block: &mut Block,
        used: &mut u32,
        last: &mut u32,
    ) -> bool {
        let mut k = 1usize;
        let mut any = false;
        while k < 64 {
            self.fill(data);
            let entry = table.entries[self.peek(WIDE) as usize];
            if entry & WHOLE != 0 {
                k += (entry >> 10 & 15) as usize;
                block[usize::from(NATURAL[k & 127] & 63)] = (entry >> 16) as i16;
                k += 1;
                self.drop(entry & 63);
                *used += entry & 63;
                *last = entry >> 6 & 15;
                any = true;
                continue;
            }
            let (length, run, size) = self.code(entry, table);
            self.drop(length);
            *used += length + size;
            if size != 0 {
                k += run as usize;
                let value = extend(self.peek(size), size);
                block[usize::from(NATURAL[k & 127] & 63)] = value as i16;
                self.drop(size);
                *last = size;
                any = true;
            } else {
                *last = length;
                if run != 15 {
                    break;
                }
                k += 15;
            }
            k += 1;
        }
        any
    }
}
