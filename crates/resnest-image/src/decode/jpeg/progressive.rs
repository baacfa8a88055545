//! Huffman-coded scans of progressive frames (T.81 G.1.2, `jdphuff.c`).

use super::FORMAT;
use super::bits::{BitSource, CarefulBits, Dry};
use super::coefficients::Coefficients;
use super::frame::Scan;
use super::huffman::{self, Table};
use super::markers::Stream;
use super::sequential::{Block, Interval};
use super::zigzag::NATURAL;
use crate::{Error, Result};

/// The entropy decoder of one scan.
pub(super) struct Progressive {
    /// Tables of the scan's components: DC ones in a first DC scan, AC ones in an AC scan.
    tables: Vec<Table>,
    dc: [i32; 4],
    /// Blocks whose band is still to be left out.
    end_run: u32,
    /// DC coefficients, not AC.
    is_dc: bool,
    /// One more bit of coefficients that are known.
    refines: bool,
    /// Zigzag indices of the band, both included.
    band: (usize, usize),
    /// The lowest bit that the scan sends.
    low: u32,
    pub interval: Interval,
}

/// Why an MCU was not decoded.
enum Failure {
    Dry,
    Overflow,
}

impl From<Dry> for Failure {
    fn from(_: Dry) -> Self {
        Self::Dry
    }
}

impl Progressive {
    pub fn begin(stream: &Stream<'_>, scan: &Scan) -> Result<Self> {
        let header = &scan.header;
        let is_dc = header.spectral_start == 0;
        let mut tables = Vec::new();
        if !is_dc || header.approx_high == 0 {
            for &index in &header.components {
                let component = stream.frame.as_ref().and_then(|f| f.components.get(index));
                let Some(component) = component else { continue };
                let table = match is_dc {
                    true => component.dc_table,
                    false => component.ac_table,
                };
                tables.push(huffman::table(stream, is_dc, table)?);
            }
        }
        Ok(Self {
            tables,
            dc: [0; 4],
            end_run: 0,
            is_dc,
            refines: header.approx_high != 0,
            band: (
                usize::from(header.spectral_start),
                usize::from(header.spectral_end),
            ),
            low: header.approx_low.into(),
            interval: Interval::new(stream),
        })
    }

    /// Decodes a row of MCUs, `y` of the scan's; gives whether any of its data were there.
    pub fn row(
        &mut self,
        stream: &mut Stream<'_>,
        scan: &Scan,
        coefficients: &mut Coefficients,
        y: usize,
    ) -> Result<bool> {
        let mut good = false;
        let mut bits = self.interval.load(stream);
        for x in 0..scan.mcus_wide {
            // Before a restart marker: libjpeg asks about the MCU that precedes it (`consume_data`).
            good |= !bits.insufficient;
            if self.interval.is_due(stream) {
                self.interval.store(bits, stream);
                self.interval.count(stream)?;
                self.dc = [0; 4];
                self.end_run = 0;
                bits = self.interval.load(stream);
            } else {
                self.interval.count(stream)?;
            }
            if bits.insufficient && !(self.is_dc && self.refines) {
                continue;
            }
            match self.mcu(&mut bits, scan, coefficients, (x, y)) {
                Ok(()) => {}
                Err(Failure::Dry) => return Err(stream.source.ran_dry()),
                Err(Failure::Overflow) => {
                    return Err(Error::corrupt(FORMAT, "a DC coefficient out of range"));
                }
            }
        }
        self.interval.store(bits, stream);
        Ok(good)
    }

    #[inline(always)]
    fn mcu(
        &mut self,
        bits: &mut CarefulBits<'_>,
        scan: &Scan,
        coefficients: &mut Coefficients,
        mcu: (usize, usize),
    ) -> Result<(), Failure> {
        if self.is_dc {
            return self.dc_blocks(bits, scan, coefficients, mcu);
        }
        if !self.refines && self.end_run > 0 {
            self.end_run -= 1;
            return Ok(());
        }
        let ([place], [table]) = (&scan.blocks[..], &self.tables[..]) else {
            return Ok(());
        };
        let block = coefficients.block_mut(place, mcu, false);
        let run = &mut self.end_run;
        match self.refines {
            false => ac_first(bits, table, self.band, self.low, run, block)?,
            true => ac_refine(bits, table, self.band, self.low, run, block)?,
        }
        Ok(())
    }

    fn dc_blocks(
        &mut self,
        bits: &mut CarefulBits<'_>,
        scan: &Scan,
        coefficients: &mut Coefficients,
        mcu: (usize, usize),
    ) -> Result<(), Failure> {
        let interleaved = scan.is_interleaved();
        for place in &scan.blocks {
            if self.refines {
                if bits.bits(1)? != 0 {
                    coefficients.block_mut(place, mcu, interleaved)[0] |= (1i32 << self.low) as i16;
                }
            } else {
                let value = self.dc_first(bits, place.slot)?;
                coefficients.block_mut(place, mcu, interleaved)[0] = (value << self.low) as i16;
            }
        }
        Ok(())
    }

    fn dc_first(&mut self, bits: &mut CarefulBits<'_>, slot: usize) -> Result<i32, Failure> {
        let dc = &mut self.dc[slot & 3];
        if let Some(table) = self.tables.get(slot) {
            let size = bits.symbol(table)?;
            if size != 0 {
                let difference = bits.extended(size.into())?;
                *dc = dc.checked_add(difference).ok_or(Failure::Overflow)?;
            }
        }
        Ok(*dc)
    }
}

/// The length of a run of blocks without further coefficients, this one included.
#[inline(always)]
fn end_of_band(bits: &mut CarefulBits<'_>, exponent: u32) -> Result<u32, Dry> {
    let mut run = 1 << exponent;
    if exponent != 0 {
        run += bits.bits(exponent)? as u32;
    }
    Ok(run)
}

#[inline(always)]
fn ac_first(
    bits: &mut CarefulBits<'_>,
    table: &Table,
    (start, end): (usize, usize),
    low: u32,
    end_run: &mut u32,
    block: &mut Block,
) -> Result<(), Dry> {
    let mut k = start;
    while k <= end {
        let symbol = bits.symbol(table)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size != 0 {
            k += run;
            let value = bits.extended(size)?;
            block[usize::from(NATURAL[k & 127] & 63)] = (value << low) as i16;
        } else if run == 15 {
            k += 15;
        } else {
            *end_run = end_of_band(bits, run as u32)? - 1;
            break;
        }
        k += 1;
    }
    Ok(())
}

/// Appends a bit to a coefficient that is not 0.
#[inline(always)]
fn refine(bits: &mut CarefulBits<'_>, low: u32, coefficient: &mut i16) -> Result<(), Dry> {
    let bit = (1i32 << low) as i16;
    if bits.bits(1)? != 0 && *coefficient & bit == 0 {
        let step = if *coefficient >= 0 {
            bit
        } else {
            bit.wrapping_neg()
        };
        *coefficient = coefficient.wrapping_add(step);
    }
    Ok(())
}

#[inline(always)]
fn ac_refine(
    bits: &mut CarefulBits<'_>,
    table: &Table,
    (start, end): (usize, usize),
    low: u32,
    end_run: &mut u32,
    block: &mut Block,
) -> Result<(), Dry> {
    let bit = (1i32 << low) as i16;
    let mut k = start;
    while *end_run == 0 && k <= end {
        let symbol = bits.symbol(table)?;
        let mut zeros = symbol >> 4;
        let mut new = 0;
        if symbol & 15 != 0 {
            // A size other than 1 is damage that changes nothing.
            new = if bits.bits(1)? != 0 {
                bit
            } else {
                bit.wrapping_neg()
            };
        } else if zeros != 15 {
            *end_run = end_of_band(bits, zeros.into())?;
            break;
        }
        // Past `zeros` zero coefficients, refining the others on the way; at least one step.
        loop {
            let coefficient = &mut block[usize::from(NATURAL[k & 127] & 63)];
            if *coefficient != 0 {
                refine(bits, low, coefficient)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            k += 1;
            if k > end {
                break;
            }
        }
        if new != 0 {
            block[usize::from(NATURAL[k & 127] & 63)] = new;
        }
        k += 1;
    }
    if *end_run > 0 {
        *end_run -= 1;
        // Most blocks of a run have no coefficient to refine.
        if block[1..].iter().fold(0, |any, &c| any | c) == 0 {
            return Ok(());
        }
        for &at in NATURAL.get(k..=end).unwrap_or_default() {
            let coefficient = &mut block[usize::from(at & 63)];
            if *coefficient != 0 {
                refine(bits, low, coefficient)?;
            }
        }
    }
    Ok(())
}
