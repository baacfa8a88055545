//! Arithmetic-coded scans, sequential and progressive (T.81 annex D, F.1.4, F.2.4 and G.1.3; `jdarith.c`).
//!
//! Unlike Huffman-coded data these may end early: zeros follow for as long as more is wanted. What they may
//! not do is wait for Pillow's next 64 KiB; libjpeg fails there, and Pillow with it.

use super::FORMAT;
use super::arithmetic_states::STATES;
use super::frame::Scan;
use super::markers::{ScanHeader, Stream};
use super::sequential::Block;
use super::zigzag::NATURAL;
use crate::{Error, Result};

/// The state of the bins whose probability stays one half.
const FIXED: u8 = 113;

/// Statistics of one DC and one AC table; a bin is its state, with the more probable symbol on top.
type DcBins = [u8; 64];
type AcBins = [u8; 256];

/// First bins of the magnitudes over 1 (T.81 tables F.4 and F.5).
const DC_MAGNITUDES: usize = 20;
const AC_LOW_MAGNITUDES: usize = 189;
const AC_HIGH_MAGNITUDES: usize = 217;

/// From a magnitude's bin to the bin of its bits.
const TO_BITS: usize = 14;

/// A magnitude past all that a coefficient can be: the interval is damaged.
struct Damaged;

/// Why an MCU was not decoded to its end.
enum Failure {
    Damaged,
    Error(Error),
}

impl From<Damaged> for Failure {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Decoded<T> = std::result::Result<T, Failure>;

/// The decoder's registers (T.81 D.2), with code and following bits in one.
#[derive(Debug, Clone, Copy)]
struct Registers {
    code: i64,
    range: i64,
    /// Bits of `code` below its base; negative while the first two bytes are awaited.
    shift: i32,
}

const START: Registers = Registers {
    code: 0,
    range: 0,
    shift: -16,
};

/// The entropy decoder of one scan.
pub(super) struct Arithmetic {
    registers: Registers,
    dc_bins: Vec<DcBins>,
    ac_bins: Vec<AcBins>,
    dc: [i32; 4],
    dc_context: [usize; 4],
    /// MCUs until the next restart marker.
    left: u32,
    /// Damage was met; the rest of the interval stays as it is.
    damaged: bool,
    progressive: bool,
}

impl Arithmetic {
    pub fn begin(stream: &Stream<'_>) -> Self {
        let coding = stream.frame.as_ref().map(|frame| frame.coding);
        Self {
            registers: START,
            dc_bins: vec![[0; 64]; 16],
            ac_bins: vec![[0; 256]; 16],
            dc: [0; 4],
            dc_context: [0; 4],
            left: stream.restart_interval.into(),
            damaged: false,
            progressive: coding.is_some_and(|coding| coding.progressive),
        }
    }

    /// Decodes an MCU into `blocks`; what the data do not say stays as it is.
    pub fn mcu(
        &mut self,
        stream: &mut Stream<'_>,
        scan: &Scan,
        blocks: &mut [Block],
    ) -> Result<()> {
        self.count(stream, &scan.header)?;
        if self.damaged {
            return Ok(());
        }
        for (place, block) in scan.blocks.iter().zip(blocks) {
            match self.block(stream, scan, place.slot, place.component, block) {
                Ok(()) => {}
                Err(Failure::Error(error)) => return Err(error),
                Err(Failure::Damaged) => {
                    self.damaged = true;
                    break;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, stream: &mut Stream<'_>, header: &ScanHeader) -> Result<()> {
        if stream.restart_interval == 0 {
            return Ok(());
        }
        if self.left == 0 {
            stream.read_restart()?;
            // A refinement of DC has no statistics, and an AC scan no DC: resetting both is the same.
            if !self.progressive || header.spectral_start != 0 || header.approx_high == 0 {
                self.dc_bins.fill([0; 64]);
                self.ac_bins.fill([0; 256]);
                self.dc = [0; 4];
                self.dc_context = [0; 4];
            }
            self.registers = START;
            self.damaged = false;
            self.left = stream.restart_interval.into();
        }
        self.left -= 1;
        Ok(())
    }

    fn block(
        &mut self,
        stream: &mut Stream<'_>,
        scan: &Scan,
        slot: usize,
        component: usize,
        block: &mut Block,
    ) -> Decoded<()> {
        let tables = stream
            .frame
            .as_ref()
            .and_then(|f| f.components.get(component));
        let (dc_table, ac_table) = tables.map_or((0, 0), |c| (c.dc_table & 15, c.ac_table & 15));
        let header = &scan.header;
        let low = u32::from(header.approx_low);
        if !self.progressive {
            block[0] = self.dc(stream, dc_table, slot & 3)? as i16;
            return self.ac(stream, ac_table, (1, 63), 0, block);
        }
        let band = (
            usize::from(header.spectral_start),
            usize::from(header.spectral_end),
        );
        match (header.spectral_start, header.approx_high) {
            (0, 0) => block[0] = (self.dc(stream, dc_table, slot & 3)? << low) as i16,
            (0, _) => {
                if self.fixed(stream)? {
                    block[0] |= (1i32 << low) as i16;
                }
            }
            (_, 0) => self.ac(stream, ac_table, band, low, block)?,
            _ => self.refine(stream, ac_table, band, low, block)?,
        }
        Ok(())
    }

    fn decide_dc(&mut self, stream: &mut Stream<'_>, table: usize, bin: usize) -> Result<bool> {
        decide(
            &mut self.registers,
            stream,
            &mut self.dc_bins[table][bin & 63],
        )
    }

    fn decide_ac(&mut self, stream: &mut Stream<'_>, table: usize, bin: usize) -> Result<bool> {
        decide(
            &mut self.registers,
            stream,
            &mut self.ac_bins[table][bin & 255],
        )
    }

    fn fixed(&mut self, stream: &mut Stream<'_>) -> Result<bool> {
        decide(&mut self.registers, stream, &mut { FIXED })
    }

    /// The next DC value of a component (figures F.19 to F.24).
    fn dc(&mut self, stream: &mut Stream<'_>, table: usize, slot: usize) -> Decoded<i32> {
        let start = self.dc_context[slot];
        if !self.decide_dc(stream, table, start)? {
            self.dc_context[slot] = 0;
            return Ok(self.dc[slot]);
        }
        let negative = self.decide_dc(stream, table, start + 1)?;
        let mut bin = start + 2 + usize::from(negative);
        let mut magnitude = i32::from(self.decide_dc(stream, table, bin)?);
        if magnitude != 0 {
            bin = DC_MAGNITUDES;
            while self.decide_dc(stream, table, bin)? {
                magnitude = doubled(magnitude)?;
                bin += 1;
            }
        }
        let bound = |bits: u8| (1i32 << bits) >> 1;
        let category = if magnitude < bound(stream.conditioning.dc_low[table]) {
            0
        } else if magnitude > bound(stream.conditioning.dc_high[table]) {
            12
        } else {
            4
        };
        let signed = if category > 0 && negative { 4 } else { 0 };
        self.dc_context[slot] = category + signed;
        let mut value = magnitude;
        while magnitude > 1 {
            magnitude >>= 1;
            if self.decide_dc(stream, table, bin + TO_BITS)? {
                value |= magnitude;
            }
        }
        value += 1;
        let difference = if negative { -value } else { value };
        self.dc[slot] = (self.dc[slot] + difference) & 0xffff;
        Ok(self.dc[slot])
    }

    /// A block's first AC coefficients of a band (figures F.20 to F.24).
    fn ac(
        &mut self,
        stream: &mut Stream<'_>,
        table: usize,
        (start, end): (usize, usize),
        low: u32,
        block: &mut Block,
    ) -> Decoded<()> {
        let mut k = start;
        while k <= end {
            if self.decide_ac(stream, table, 3 * (k - 1))? {
                break;
            }
            while !self.decide_ac(stream, table, 3 * (k - 1) + 1)? {
                k += 1;
                if k > end {
                    return Err(Failure::Damaged);
                }
            }
            let negative = self.fixed(stream)?;
            let value = self.ac_magnitude(stream, table, k)? + 1;
            let value = if negative { -value } else { value };
            block[usize::from(NATURAL[k & 63] & 63)] = (value << low) as i16;
            k += 1;
        }
        Ok(())
    }

    /// The magnitude less 1 of the coefficient at `k`.
    fn ac_magnitude(&mut self, stream: &mut Stream<'_>, table: usize, k: usize) -> Decoded<i32> {
        let mut bin = 3 * (k - 1) + 2;
        let mut magnitude = i32::from(self.decide_ac(stream, table, bin)?);
        if magnitude != 0 && self.decide_ac(stream, table, bin)? {
            magnitude = 2;
            bin = if k <= usize::from(stream.conditioning.ac_split[table]) {
                AC_LOW_MAGNITUDES
            } else {
                AC_HIGH_MAGNITUDES
            };
            while self.decide_ac(stream, table, bin)? {
                magnitude = doubled(magnitude)?;
                bin += 1;
            }
        }
        let mut value = magnitude;
        while magnitude > 1 {
            magnitude >>= 1;
            if self.decide_ac(stream, table, bin + TO_BITS)? {
                value |= magnitude;
            }
        }
        Ok(value)
    }

    /// One more bit of a band's coefficients (figure G.10).
    fn refine(
        &mut self,
        stream: &mut Stream<'_>,
        table: usize,
        (start, end): (usize, usize),
        low: u32,
        block: &mut Block,
    ) -> Decoded<()> {
        let bit = (1i32 << low) as i16;
        let at = |k: usize| usize::from(NATURAL[k & 63] & 63);
        let known = (1..=end).rev().find(|&k| block[at(k)] != 0).unwrap_or(0);
        let mut k = start;
        while k <= end {
            if k > known && self.decide_ac(stream, table, 3 * (k - 1))? {
                break;
            }
            loop {
                let old = block[at(k)];
                if old != 0 {
                    if self.decide_ac(stream, table, 3 * (k - 1) + 2)? {
                        let step = if old < 0 { bit.wrapping_neg() } else { bit };
                        block[at(k)] = old.wrapping_add(step);
                    }
                    break;
                }
                if self.decide_ac(stream, table, 3 * (k - 1) + 1)? {
                    let negative = self.fixed(stream)?;
                    block[at(k)] = if negative { bit.wrapping_neg() } else { bit };
                    break;
                }
                k += 1;
                if k > end {
                    return Err(Failure::Damaged);
                }
            }
            k += 1;
        }
        Ok(())
    }
}

fn doubled(magnitude: i32) -> std::result::Result<i32, Damaged> {
    match magnitude << 1 {
        0x8000 => Err(Damaged),
        twice => Ok(twice),
    }
}

/// The next byte of the segment, 0 once a marker is met.
fn next_byte(stream: &mut Stream<'_>) -> Result<i64> {
    if stream.unread != 0 {
        return Ok(0);
    }
    let byte = take(stream)?;
    if byte != 0xff {
        return Ok(byte.into());
    }
    let mut code = 0xff;
    while code == 0xff {
        code = take(stream)?;
    }
    if code == 0 {
        return Ok(0xff);
    }
    stream.unread = code;
    Ok(0)
}

fn take(stream: &mut Stream<'_>) -> Result<u8> {
    let end = "arithmetic-coded data do not end within the first 64 KiB";
    stream
        .source
        .byte()
        .map_err(|_| Error::corrupt(FORMAT, end))
}

/// One binary decision with a bin's statistics (T.81 D.2.4 to D.2.6).
fn decide(registers: &mut Registers, stream: &mut Stream<'_>, bin: &mut u8) -> Result<bool> {
    let r = registers;
    while r.range < 0x8000 {
        r.shift -= 1;
        if r.shift < 0 {
            r.code = r.code << 8 | next_byte(stream)?;
            r.shift += 8;
            if r.shift < 0 {
                r.shift += 1;
                if r.shift == 0 {
                    // Two bytes are there: the range is 2^16 after the doubling below.
                    r.range = 0x8000;
                }
            }
        }
        r.range <<= 1;
    }
    let state = STATES[usize::from(*bin & 0x7f).min(STATES.len() - 1)];
    let mut symbol = *bin & 0x80;
    let size = i64::from(state.size);
    r.range -= size;
    let base = r.range << r.shift;
    if r.code >= base {
        r.code -= base;
        let exchange = r.range < size;
        r.range = size;
        *bin = symbol
            ^ if exchange {
                state.after_more
            } else {
                state.after_less
            };
        if !exchange {
            symbol ^= 0x80;
        }
    } else if r.range < 0x8000 {
        let exchange = r.range < size;
        *bin = symbol
            ^ if exchange {
                state.after_less
            } else {
                state.after_more
            };
        if exchange {
            symbol ^= 0x80;
        }
    }
    Ok(symbol != 0)
}
