//! Huffman-coded MCUs of sequential frames (T.81 F.2, `jdhuff.c`), damaged ones included.

use super::bits::{BitSource, BitState, CarefulBits, QUICK_BLOCK, QuickBits};
use super::frame::Scan;
use super::huffman::{self, Table};
use super::markers::Stream;
use super::swift::{Swift, WideTable};
use super::zigzag::NATURAL;
use crate::Result;

/// A block's coefficients, row-major, not yet dequantised.
pub(super) type Block = [i16; 64];

/// Where the data of one restart interval stand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Interval {
    pub bits: BitState,
    /// A marker came before the interval's data were complete: what is left of it stays as it is.
    pub insufficient: bool,
    /// MCUs until the next restart marker.
    left: u32,
}

impl Interval {
    pub fn new(stream: &Stream<'_>) -> Self {
        Self {
            left: stream.restart_interval.into(),
            ..Self::default()
        }
    }

    /// The bits that come next.
    pub fn load<'a>(&self, stream: &Stream<'a>) -> CarefulBits<'a> {
        CarefulBits::load(stream, self.bits, self.insufficient)
    }

    pub fn store<'a>(&mut self, bits: CarefulBits<'a>, stream: &mut Stream<'a>) {
        self.insufficient = bits.store(stream, &mut self.bits);
    }

    /// Whether a restart marker comes before the next MCU.
    pub fn is_due(&self, stream: &Stream<'_>) -> bool {
        self.left == 0 && stream.restart_interval != 0
    }

    /// Counts an MCU; true when a restart marker was read before it.
    pub fn count(&mut self, stream: &mut Stream<'_>) -> Result<bool> {
        if stream.restart_interval == 0 {
            return Ok(false);
        }
        let restart = self.is_due(stream);
        if restart {
            self.restart(stream)?;
        }
        self.left -= 1;
        Ok(restart)
    }

    /// Goes past the restart marker that is due.
    pub fn restart(&mut self, stream: &mut Stream<'_>) -> Result<()> {
        self.bits.clear();
        stream.read_restart()?;
        self.left = stream.restart_interval.into();
        // With a marker still unread the coming interval is empty too.
        self.insufficient &= stream.unread != 0;
        Ok(())
    }

    /// Nothing more can come of this scan: its data ended, at a marker that no restart gets past.
    pub fn is_over(&self, stream: &Stream<'_>) -> bool {
        let stuck = matches!(stream.unread, 0xc0..0xd0 | 0xd8..);
        self.insufficient && (stream.restart_interval == 0 || stuck)
    }
}

/// The entropy decoder of one scan.
pub(super) struct Sequential {
    /// DC and AC tables of each of the scan's components.
    tables: Vec<(WideTable, WideTable)>,
    /// Each component's last DC value.
    dc: [i32; 4],
    pub interval: Interval,
    /// Set while the swift decoder is at work; the interval's bits are then out of date.
    swift: Option<Swift>,
    clear: Clear,
}

/// A stretch of data without a marker.
#[derive(Debug, Clone, Copy, Default)]
struct Clear {
    end: usize,
    /// A marker is at its end, not the end of the piece or a fill byte.
    marker: bool,
    /// Length of the piece that was looked through.
    piece: usize,
}

impl Clear {
    /// Looks for the next marker at or after `pos`, unless it is known.
    fn update(&mut self, data: &[u8], pos: usize) {
        if pos < self.end && (self.marker || self.piece == data.len()) {
            return;
        }
        let mut end = pos;
        *self = loop {
            let rest = data.get(end..).unwrap_or_default();
            end += rest
                .iter()
                .position(|&byte| byte == 0xff)
                .unwrap_or(rest.len());
            match data.get(end + 1) {
                Some(0) => end += 2,
                code => {
                    break Self {
                        end,
                        marker: code.is_some_and(|&code| code != 0xff),
                        piece: data.len(),
                    };
                }
            }
        };
    }
}

impl Sequential {
    pub fn begin(stream: &Stream<'_>, scan: &Scan) -> Result<Self> {
        let mut tables = Vec::with_capacity(scan.header.components.len());
        for &index in &scan.header.components {
            let Some(component) = stream.frame.as_ref().and_then(|f| f.components.get(index))
            else {
                continue;
            };
            let table = |is_dc, index| {
                huffman::table(stream, is_dc, index).map(|table| WideTable::new(table, is_dc))
            };
            tables.push((
                table(true, component.dc_table)?,
                table(false, component.ac_table)?,
            ));
        }
        Ok(Self {
            tables,
            dc: [0; 4],
            interval: Interval::new(stream),
            swift: None,
            clear: Clear::default(),
        })
    }

    /// Decodes an MCU into `blocks`, setting the bit of each block in `ac` that got more than a DC value.
    /// What the data do not say stays as it is.
    pub fn mcu(
        &mut self,
        stream: &mut Stream<'_>,
        scan: &Scan,
        blocks: &mut [Block],
        ac: &mut u32,
    ) -> Result<()> {
        if self.interval.is_due(stream) {
            self.settle(stream);
        }
        if self.interval.count(stream)? {
            self.dc = [0; 4];
        }
        if self.interval.insufficient || self.swift(stream, scan, blocks, ac) {
            return Ok(());
        }
        self.settle(stream);
        if self.quick(stream, scan, blocks, ac) {
            return Ok(());
        }
        while !self.careful(stream, scan, blocks, ac) {
            if !stream.source.extend() {
                return Err(stream.source.ran_dry());
            }
            if self.quick(stream, scan, blocks, ac) {
                break;
            }
        }
        Ok(())
    }

    /// Brings stream and bits up to date, as is due after the last MCU too.
    pub fn settle(&mut self, stream: &mut Stream<'_>) {
        if let Some(swift) = self.swift.take() {
            self.interval.bits = swift.leave(stream);
        }
    }

    fn swift(
        &mut self,
        stream: &mut Stream<'_>,
        scan: &Scan,
        blocks: &mut [Block],
        ac: &mut u32,
    ) -> bool {
        if stream.unread != 0 {
            return false;
        }
        let swift = self.swift;
        let mut swift = swift.unwrap_or_else(|| Swift::enter(stream, self.interval.bits));
        let data = stream.source.piece();
        self.clear.update(data, swift.pos());
        let needed = Swift::BLOCK * scan.blocks.len() + Swift::MARGIN;
        // With restarts libjpeg reads ahead otherwise, which does not matter where a marker ends it.
        let counts = stream.restart_interval == 0 || self.clear.marker;
        if !counts || swift.pos() + needed > self.clear.end {
            return false;
        }
        swift.mcu(data, &self.tables, &mut self.dc, scan, blocks, ac);
        self.swift = Some(swift);
        true
    }

    fn quick(
        &mut self,
        stream: &mut Stream<'_>,
        scan: &Scan,
        blocks: &mut [Block],
        ac: &mut u32,
    ) -> bool {
        let needed = QUICK_BLOCK * scan.blocks.len();
        if stream.restart_interval != 0 || stream.unread != 0 || stream.source.left() < needed {
            return false;
        }
        let mut dc = self.dc;
        let mut bits = QuickBits::load(stream, self.interval.bits);
        let Ok(()) = self.blocks(&mut bits, &mut dc, scan, blocks, ac);
        let done = bits.store(stream, &mut self.interval.bits);
        if done {
            self.dc = dc;
        }
        done
    }

    fn careful(
        &mut self,
        stream: &mut Stream<'_>,
        scan: &Scan,
        blocks: &mut [Block],
        ac: &mut u32,
    ) -> bool {
        let mut dc = self.dc;
        let mut bits = self.interval.load(stream);
        if self.blocks(&mut bits, &mut dc, scan, blocks, ac).is_err() {
            return false;
        }
        self.interval.store(bits, stream);
        self.dc = dc;
        true
    }

    #[inline(always)]
    fn blocks<B: BitSource>(
        &self,
        bits: &mut B,
        dc: &mut [i32; 4],
        scan: &Scan,
        blocks: &mut [Block],
        ac: &mut u32,
    ) -> Result<(), B::Stop> {
        for (i, (place, block)) in scan.blocks.iter().zip(blocks).enumerate() {
            let Some((dc_table, ac_table)) = self.tables.get(place.slot) else {
                continue;
            };
            let dc = &mut dc[place.slot & 3];
            let (dc_table, ac_table) = (dc_table.narrow(), ac_table.narrow());
            let size = bits.symbol(dc_table)?;
            if size != 0 {
                *dc = dc.wrapping_add(bits.extended(size.into())?);
            }
            block[0] = *dc as i16;
            *ac |= u32::from(ac_coefficients(bits, ac_table, block)?) << i;
        }
        Ok(())
    }
}

/// Decodes a block's AC coefficients; true when there were any.
#[inline(always)]
fn ac_coefficients<B: BitSource>(
    bits: &mut B,
    table: &Table,
    block: &mut Block,
) -> Result<bool, B::Stop> {
    let mut k = 1usize;
    let mut any = false;
    while k < 64 {
        let symbol = bits.symbol(table)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size != 0 {
            k += run;
            let value = bits.extended(size)?;
            block[usize::from(NATURAL[k & 127] & 63)] = value as i16;
            any = true;
        } else if run == 15 {
            k += 15;
        } else {
            break;
        }
        k += 1;
    }
    Ok(any)
}
