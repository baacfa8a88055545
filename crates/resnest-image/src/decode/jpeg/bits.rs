//! Bits of entropy-coded data, with libjpeg's two ways of filling its 64-bit buffer (`jdhuff.c`).
//!
//! Both ways give the same bits, and zeros after a marker; they differ in how far ahead of the bits they
//! read. That decides whether a file that ends without a marker counts as cut short, so both are kept.

use super::huffman::{LOOKAHEAD, Table};
use super::markers::Stream;

/// Below this many bits the careful way fills up.
const CAREFUL_FILL: u32 = 57;

/// The data ended before the bits that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dry;

/// Huffman symbols and plain bits.
pub(super) trait BitSource {
    /// What stops it.
    type Stop;

    /// The next symbol; 0 for a code that no symbol has.
    fn symbol(&mut self, table: &Table) -> Result<u8, Self::Stop>;

    /// The next `count` bits, 1 to 15.
    fn bits(&mut self, count: u32) -> Result<i32, Self::Stop>;

    /// The next `count` bits as T.81 F.2.2.1 extends them: the lower half is negative.
    #[inline(always)]
    fn extended(&mut self, count: u32) -> Result<i32, Self::Stop> {
        let value = self.bits(count)?;
        Ok(extend(value, count))
    }
}

#[inline(always)]
pub(super) fn extend(value: i32, count: u32) -> i32 {
    let negative = (value - (1 << (count - 1))) >> 31;
    value + (negative & ((-1 << count) + 1))
}

#[inline(always)]
fn low_bits(buffer: u64, left: u32, count: u32) -> i32 {
    (buffer >> left) as i32 & ((1 << count) - 1)
}

/// Whether one of the first six bytes of `word` is 0xff. May say so wrongly, which costs time only.
#[inline(always)]
fn six_may_have_ff(word: u64) -> bool {
    let inverse = !word;
    (inverse.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_0000) != 0
}

/// Whether a byte of `word` is 0xff. May say so wrongly.
#[inline(always)]
pub(super) fn may_have_ff(word: u64) -> bool {
    ((!word).wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080) != 0
}

/// Filled bits between two MCUs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BitState {
    buffer: u64,
    left: u32,
}

impl BitState {
    /// The bits from the top of a word, and how many there are.
    pub fn top(self) -> (u64, u32) {
        (self.buffer.unbounded_shl(64 - self.left), self.left)
    }

    pub fn of_top(buffer: u64, left: u32) -> Self {
        let buffer = buffer.unbounded_shr(64 - left);
        Self { buffer, left }
    }

    /// Throws the bits away, as at a restart.
    pub fn clear(&mut self) {
        self.left = 0;
    }
}

/// The quick way, for the middle of the data: 48 bits at a time, and a note when a marker came.
pub(super) struct QuickBits<'a> {
    data: &'a [u8],
    pos: usize,
    buffer: u64,
    left: u32,
    marker: bool,
}

/// Bytes that the quick way must have before it to each block of an MCU.
pub(super) const QUICK_BLOCK: usize = 512;

impl<'a> QuickBits<'a> {
    pub fn load(stream: &Stream<'a>, state: BitState) -> Self {
        Self {
            data: stream.source.piece(),
            pos: stream.source.pos,
            buffer: state.buffer,
            left: state.left,
            marker: false,
        }
    }

    /// Puts the state back; false, and nothing done, when a marker was met.
    pub fn store(self, stream: &mut Stream<'a>, state: &mut BitState) -> bool {
        if !self.marker {
            stream.source.pos = self.pos;
            state.buffer = self.buffer;
            state.left = self.left;
        }
        !self.marker
    }

    #[inline(always)]
    fn fill(&mut self) {
        if self.left > 16 {
            return;
        }
        if let Some(&bytes) = self.data.get(self.pos..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_be_bytes(bytes);
            if !six_may_have_ff(word) {
                self.buffer = self.buffer << 48 | word >> 16;
                self.left += 48;
                self.pos += 6;
                return;
            }
        }
        self.fill_slowly();
    }

    #[cold]
    #[inline(never)]
    fn fill_slowly(&mut self) {
        for _ in 0..6 {
            // Past the end is as good as a marker: the careful way then takes over.
            let byte = |at| self.data.get(at).copied();
            let (value, used) = match (byte(self.pos), byte(self.pos + 1)) {
                (Some(0xff), Some(0)) => (0xff, 2),
                (None, _) | (Some(0xff), _) => {
                    self.marker = true;
                    (0, 0)
                }
                (Some(value), _) => (value, 1),
            };
            self.pos += used;
            self.buffer = self.buffer << 8 | u64::from(value);
            self.left += 8;
        }
    }
}

impl BitSource for QuickBits<'_> {
    type Stop = std::convert::Infallible;

    #[inline(always)]
    fn symbol(&mut self, table: &Table) -> Result<u8, Self::Stop> {
        self.fill();
        let next = low_bits(self.buffer, self.left - LOOKAHEAD, LOOKAHEAD);
        let entry = table.lookup[next as usize];
        let mut length = u32::from(entry >> 8);
        self.left -= length;
        if length <= LOOKAHEAD {
            return Ok(entry as u8);
        }
        let mut code = low_bits(self.buffer, self.left, length);
        while code > table.largest[length as usize] {
            self.left -= 1;
            code = code << 1 | low_bits(self.buffer, self.left, 1);
            length += 1;
        }
        Ok(match length {
            ..=16 => table.symbol(code, length as usize),
            _ => 0,
        })
    }

    #[inline(always)]
    fn bits(&mut self, count: u32) -> Result<i32, Self::Stop> {
        self.fill();
        self.left -= count;
        Ok(low_bits(self.buffer, self.left, count))
    }
}

/// The careful way: stops at the end of the data, and at a marker goes on with zeros.
pub(super) struct CarefulBits<'a> {
    data: &'a [u8],
    pos: usize,
    buffer: u64,
    left: u32,
    unread: u8,
    /// More bits were asked for than the segment has.
    pub insufficient: bool,
}

impl<'a> CarefulBits<'a> {
    pub fn load(stream: &Stream<'a>, state: BitState, insufficient: bool) -> Self {
        Self {
            data: stream.source.piece(),
            pos: stream.source.pos,
            buffer: state.buffer,
            left: state.left,
            unread: stream.unread,
            insufficient,
        }
    }

    /// Puts the state back; gives whether the data were insufficient.
    pub fn store(self, stream: &mut Stream<'a>, state: &mut BitState) -> bool {
        stream.source.pos = self.pos;
        stream.unread = self.unread;
        state.buffer = self.buffer;
        state.left = self.left;
        self.insufficient
    }

    /// Fills the buffer as far as it goes, and with zeros if a marker leaves fewer than `wanted`.
    #[inline(never)]
    fn fill(&mut self, wanted: u32) -> Result<(), Dry> {
        if self.unread == 0
            && self.left < CAREFUL_FILL
            && let Some(&bytes) = self.data.get(self.pos..).and_then(<[u8]>::first_chunk)
        {
            let word = u64::from_be_bytes(bytes);
            if !may_have_ff(word) {
                let bytes = (64 - self.left) / 8;
                let (bits, rest) = (8 * bytes, 64 - 8 * bytes);
                self.buffer = self.buffer.unbounded_shl(bits) | word.unbounded_shr(rest);
                self.left += bits;
                self.pos += bytes as usize;
                return Ok(());
            }
        }
        while self.unread == 0 && self.left < CAREFUL_FILL {
            let mut byte = *self.data.get(self.pos).ok_or(Dry)?;
            self.pos += 1;
            if byte == 0xff {
                while byte == 0xff {
                    byte = *self.data.get(self.pos).ok_or(Dry)?;
                    self.pos += 1;
                }
                if byte != 0 {
                    self.unread = byte;
                    break;
                }
                byte = 0xff;
            }
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.left += 8;
        }
        if self.unread != 0 && wanted > self.left {
            self.insufficient = true;
            self.buffer <<= CAREFUL_FILL - self.left;
            self.left = CAREFUL_FILL;
        }
        Ok(())
    }

    #[inline(always)]
    fn ensure(&mut self, count: u32) -> Result<(), Dry> {
        if self.left < count {
            self.fill(count)?;
        }
        Ok(())
    }

    fn long_symbol(&mut self, table: &Table, mut length: u32) -> Result<u8, Dry> {
        let mut code = self.bits(length)?;
        while code > table.largest[length as usize] {
            code = code << 1 | self.bits(1)?;
            length += 1;
        }
        Ok(match length {
            ..=16 => table.symbol(code, length as usize),
            _ => 0,
        })
    }
}

impl BitSource for CarefulBits<'_> {
    type Stop = Dry;

    #[inline(always)]
    fn symbol(&mut self, table: &Table) -> Result<u8, Dry> {
        if self.left < LOOKAHEAD {
            self.fill(0)?;
            if self.left < LOOKAHEAD {
                return self.long_symbol(table, 1);
            }
        }
        let next = low_bits(self.buffer, self.left - LOOKAHEAD, LOOKAHEAD);
        let entry = table.lookup[next as usize];
        let length = u32::from(entry >> 8);
        if length <= LOOKAHEAD {
            self.left -= length;
            return Ok(entry as u8);
        }
        self.long_symbol(table, length)
    }

    #[inline(always)]
    fn bits(&mut self, count: u32) -> Result<i32, Dry> {
        self.ensure(count)?;
        self.left -= count;
        Ok(low_bits(self.buffer, self.left, count))
    }
}
