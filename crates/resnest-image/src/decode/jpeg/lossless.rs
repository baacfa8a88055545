//! Lossless frames with Huffman codes (SOF3; T.81 annex H, `jdlhuff.c`, `jddiffct.c`, `jdlossls.c`).
//!
//! Samples are predicted from their neighbours and what is missing is coded as a DC difference would be.
//! libjpeg converts no colours here and interpolates nothing.

use super::FORMAT;
use super::bits::BitSource;
use super::frame::{Frame, Scan};
use super::huffman::{self, Table};
use super::markers::{ScanHeader, Stop, Stream};
use super::rows::{Colour, Rows};
use super::scans;
use super::sequential::Interval;
use crate::memory::filled;
use crate::{Error, Result};

/// Bits of a sample.
const PRECISION: u8 = 8;

/// The samples of each component, row by row.
type Planes = Vec<Vec<u8>>;

/// Decodes a frame; `several` where its components come in several scans.
pub(super) fn decode(
    stream: &mut Stream<'_>,
    header: ScanHeader,
    colour: Colour,
    several: bool,
) -> Result<Vec<u8>> {
    let frame = scans::frame_of(stream)?;
    let mut planes = Planes::new();
    for component in &frame.components {
        planes.push(filled(component.blocks_wide * component.blocks_high, 0)?);
    }
    let mut seen = vec![false; planes.len()];
    let mut next = Stop::Scan(header);
    while let Stop::Scan(header) = next {
        scans::check_count(stream)?;
        let scan = Scan::begin(stream, header)?;
        for &index in &scan.header.components {
            seen[index] = true;
        }
        let frame = scans::frame_of(stream)?.clone();
        Lossless::begin(stream, &frame, &scan)?.run(stream, &frame, &mut planes)?;
        if !several {
            break;
        }
        next = stream.read_markers()?;
    }
    if seen.contains(&false) {
        // libjpeg's buffer then holds whatever was in memory.
        return Err(Error::unsupported(
            FORMAT,
            "a lossless frame that lacks a component",
        ));
    }
    if !several {
        scans::check_trailer(stream)?;
    }
    rows(scans::frame_of(stream)?, &planes, colour)
}

fn rows(frame: &Frame, planes: &Planes, colour: Colour) -> Result<Vec<u8>> {
    let mut rows = Rows::new(frame, colour)?;
    for mcu_row in 0..frame.mcus_high {
        if mcu_row > 0 {
            rows.finish_strip();
        }
        for (index, component) in frame.components.iter().enumerate() {
            let first = mcu_row * component.v;
            for y in 0..component.v.min(component.blocks_high - first) {
                let start = (first + y) * component.blocks_wide;
                rows.samples(index, y, &planes[index][start..][..component.blocks_wide]);
            }
        }
    }
    Ok(rows.finish())
}

/// One component of a scan.
struct Part {
    /// Which of the frame's.
    index: usize,
    table: Table,
    /// Differences, and the samples they make, of a row of MCUs.
    differences: Vec<Vec<i32>>,
    samples: Vec<Vec<i32>>,
    /// The next row has none before it to predict from.
    first: bool,
}

/// The decoder of one scan.
struct Lossless<'s> {
    scan: &'s Scan,
    parts: Vec<Part>,
    interval: Interval,
    /// Rows of MCUs between restart markers, and until the next.
    restart_rows: usize,
    rows_left: usize,
}

impl<'s> Lossless<'s> {
    fn begin(stream: &Stream<'_>, frame: &Frame, scan: &'s Scan) -> Result<Self> {
        let header = &scan.header;
        if !(1..=7).contains(&header.spectral_start)
            || header.spectral_end != 0
            || header.approx_high != 0
            || header.approx_low >= PRECISION
        {
            let what = "a lossless scan of a predictor that does not exist";
            return Err(Error::corrupt(FORMAT, what));
        }
        let restart = usize::from(stream.restart_interval);
        if !restart.is_multiple_of(scan.mcus_wide) {
            let what = "restart markers within the rows of a lossless scan";
            return Err(Error::corrupt(FORMAT, what));
        }
        let mut parts = Vec::with_capacity(header.components.len());
        for &index in &header.components {
            let component = &frame.components[index];
            let row = filled(component.padded_wide(), 0)?;
            parts.push(Part {
                index,
                table: huffman::table(stream, true, component.dc_table)?,
                differences: vec![row.clone(); component.v],
                samples: vec![row; component.v],
                first: true,
            });
        }
        Ok(Self {
            scan,
            parts,
            interval: Interval::default(),
            restart_rows: restart / scan.mcus_wide,
            rows_left: restart / scan.mcus_wide,
        })
    }

    fn run(mut self, stream: &mut Stream<'_>, frame: &Frame, planes: &mut Planes) -> Result<()> {
        for mcu_row in 0..frame.mcus_high {
            let high = |index: usize| {
                let component = &frame.components[index];
                let left = component.blocks_high - mcu_row * component.v;
                component.v.min(left)
            };
            let rows = match self.scan.is_interleaved() {
                true => 1,
                false => high(self.parts[0].index),
            };
            for row in 0..rows {
                self.restart(stream)?;
                self.row(stream, row)?;
                self.rows_left = self.rows_left.saturating_sub(1);
            }
            for part in &mut self.parts {
                let component = &frame.components[part.index];
                let wide = component.blocks_wide;
                for row in 0..high(part.index) {
                    let at = (mcu_row * component.v + row) * wide;
                    part.reconstruct(
                        row,
                        &self.scan.header,
                        &mut planes[part.index][at..][..wide],
                    );
                }
            }
        }
        Ok(())
    }

    fn restart(&mut self, stream: &mut Stream<'_>) -> Result<()> {
        if stream.restart_interval != 0 && self.rows_left == 0 {
            self.interval.restart(stream)?;
            self.parts.iter_mut().for_each(|part| part.first = true);
            self.rows_left = self.restart_rows;
        }
        Ok(())
    }

    /// Decodes a row of MCUs, the `row`-th of those that make a row of interleaved ones.
    fn row(&mut self, stream: &mut Stream<'_>, row: usize) -> Result<()> {
        if self.interval.insufficient {
            for place in &self.scan.blocks {
                self.parts[place.slot].differences[row + place.y].fill(0);
            }
            self.parts.iter_mut().for_each(|part| part.first = true);
            return Ok(());
        }
        for x in 0..self.scan.mcus_wide {
            while !self.mcu(stream, x, row) {
                if !stream.source.extend() {
                    return Err(stream.source.ran_dry());
                }
            }
        }
        Ok(())
    }

    /// False where the data end first.
    fn mcu(&mut self, stream: &mut Stream<'_>, x: usize, row: usize) -> bool {
        let wide = self.scan.mcu_samples();
        let mut bits = self.interval.load(stream);
        for place in &self.scan.blocks {
            let part = &mut self.parts[place.slot];
            let difference = bits.symbol(&part.table).and_then(|size| match size {
                0 => Ok(0),
                16 => Ok(32768),
                _ => bits.extended(size.into()),
            });
            let Ok(difference) = difference else {
                return false;
            };
            part.differences[row + place.y][x * wide[place.slot] + place.x] = difference;
        }
        self.interval.store(bits, stream);
        true
    }
}

impl Part {
    /// Makes row `row` of the samples of its differences.
    fn reconstruct(&mut self, row: usize, header: &ScanHeader, out: &mut [u8]) {
        let above = if row > 0 {
            row - 1
        } else {
            self.samples.len() - 1
        };
        let above = self.samples[above].clone();
        let (differences, samples) = (&self.differences[row], &mut self.samples[row]);
        let low = u32::from(header.approx_low);
        let predictor = if self.first { 1 } else { header.spectral_start };
        let start = match self.first {
            true => 1 << (u32::from(PRECISION) - low - 1),
            false => above[0],
        };
        self.first = false;
        let mut left = 0;
        for (x, out) in out.iter_mut().enumerate() {
            let predicted = match x {
                0 => start,
                _ => predict(predictor, left, above[x], above[x - 1]),
            };
            left = (differences[x] + predicted) & 0xffff;
            samples[x] = left;
            *out = (left << low) as u8;
        }
    }
}

/// T.81 table H.1: from the samples on the left, above, and above on the left.
fn predict(predictor: u8, a: i32, b: i32, c: i32) -> i32 {
    match predictor {
        1 => a,
        2 => b,
        3 => c,
        4 => a + b - c,
        5 => a + ((b - c) >> 1),
        6 => b + ((a - c) >> 1),
        _ => (a + b) >> 1,
    }
}
