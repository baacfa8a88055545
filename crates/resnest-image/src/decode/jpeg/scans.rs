//! Runs a file's scans: in one pass with the rows they give, or all of them before the first row.

use super::FORMAT;
use super::arithmetic::Arithmetic;
use super::coefficients::Coefficients;
use super::frame::{Component, Frame, MAX_MCU_BLOCKS, Scan};
use super::huffman;
use super::markers::{Coding, ScanHeader, Stop, Stream};
use super::progressive::Progressive;
use super::rows::{Colour, Rows};
use super::sequential::{Block, Sequential};
use super::smoothing::{Progress, Smoothing};
use crate::{Error, Result};

/// Scans accepted in one file; real progressive files have about ten.
const MAX_SCANS: usize = 500;

/// Work accepted in one file of several scans, so that a small file cannot keep a CPU for minutes: visits to
/// blocks, weighted by what one may take. The largest picture in Pillow's limit at 4:4:4 with the usual ten
/// scans makes about a quarter.
const MAX_WORK: u64 = 1 << 29;

/// Weight of a visit that refines AC coefficients, and of any other to arithmetic-coded data.
const REFINEMENT: u64 = 8;
const ARITHMETIC: u64 = 4;

/// Refuses a scan too many.
pub(super) fn check_count(stream: &Stream<'_>) -> Result<()> {
    if stream.scans <= MAX_SCANS {
        return Ok(());
    }
    let what = format!("more than {MAX_SCANS} scans");
    Err(Error::unsupported(FORMAT, what))
}

/// A frame that has been set up.
pub(super) fn frame_of<'s>(stream: &'s Stream<'_>) -> Result<&'s Frame> {
    let missing = || Error::corrupt(FORMAT, "a scan without a frame header");
    stream.frame.as_ref().ok_or_else(missing)
}

/// The entropy decoder of a sequential scan.
enum Entropy {
    Huffman(Box<Sequential>),
    Arithmetic(Box<Arithmetic>),
}

impl Entropy {
    fn begin(stream: &mut Stream<'_>, scan: &Scan) -> Result<Self> {
        if frame_of(stream)?.coding.arithmetic {
            // libjpeg's arithmetic decoder cannot wait for more.
            stream.source.close();
            return Ok(Self::Arithmetic(Box::new(Arithmetic::begin(stream))));
        }
        Ok(Self::Huffman(Box::new(Sequential::begin(stream, scan)?)))
    }

    fn mcu(
        &mut self,
        stream: &mut Stream<'_>,
        scan: &Scan,
        blocks: &mut [Block],
        ac: &mut u32,
    ) -> Result<()> {
        match self {
            Self::Huffman(decoder) => decoder.mcu(stream, scan, blocks, ac),
            Self::Arithmetic(decoder) => {
                *ac = u32::MAX;
                decoder.mcu(stream, scan, blocks)
            }
        }
    }

    /// Ends the scan.
    fn finish(&mut self, stream: &mut Stream<'_>) {
        match self {
            Self::Huffman(decoder) => decoder.settle(stream),
            Self::Arithmetic(_) => stream.source.reopen(),
        }
    }

    /// Nothing more can come of the scan.
    fn is_over(&self, stream: &Stream<'_>) -> bool {
        match self {
            Self::Huffman(decoder) => decoder.interval.is_over(stream),
            Self::Arithmetic(_) => false,
        }
    }
}

/// Decodes a frame whose one scan has all components.
pub(super) fn in_one_pass(
    stream: &mut Stream<'_>,
    header: ScanHeader,
    colour: Colour,
) -> Result<Vec<u8>> {
    let frame = frame_of(stream)?;
    let mut rows = Rows::new(frame, colour)?;
    if !frame.coding.arithmetic {
        huffman::install_standard(stream);
    }
    let scan = Scan::begin(stream, header)?;
    let components = frame_of(stream)?.components.clone();
    let mut entropy = Entropy::begin(stream, &scan)?;
    let mut blocks = [[0; 64]; MAX_MCU_BLOCKS];
    let blocks = &mut blocks[..scan.blocks.len()];
    let mut ac = 0;
    for y in 0..scan.mcus_high {
        if y > 0 && y.is_multiple_of(scan.rows_to_mcu) {
            rows.finish_strip();
        }
        for x in 0..scan.mcus_wide {
            clear(blocks, ac);
            ac = 0;
            entropy.mcu(stream, &scan, blocks, &mut ac)?;
            transform_mcu(&components, &scan, (x, y), (blocks, ac), &mut rows);
        }
    }
    entropy.finish(stream);
    let pixels = rows.finish();
    check_trailer(stream)?;
    Ok(pixels)
}

/// Makes the blocks zero; those whose bit in `ac` is not set have a DC coefficient only.
fn clear(blocks: &mut [Block], ac: u32) {
    for (i, block) in blocks.iter_mut().enumerate() {
        match ac >> i & 1 {
            0 => block[0] = 0,
            _ => *block = [0; 64],
        }
    }
}

/// Transforms the blocks of an MCU, those that hold samples of the picture.
fn transform_mcu(
    components: &[Component],
    scan: &Scan,
    mcu: (usize, usize),
    (blocks, ac): (&[Block], u32),
    rows: &mut Rows,
) {
    for (i, (place, block)) in scan.blocks.iter().zip(blocks).enumerate() {
        let component = &components[place.component];
        let (wide, high) = scan.share(component);
        let (x, y) = (mcu.0 * wide + place.x, mcu.1 * high + place.y);
        if x < component.blocks_wide
            && y < component.blocks_high
            && let Some(quant) = &component.quant
        {
            let at = (x, y % component.v);
            rows.block(place.component, at, block, quant, ac >> i & 1 != 0);
        }
    }
}

/// Reads on from the last row to the end of the image, as far as Pillow has handed data over: what is wrong
/// there is an error, and what is not there is none.
pub(super) fn check_trailer(stream: &mut Stream<'_>) -> Result<()> {
    stream.source.close();
    match stream.read_markers() {
        Ok(Stop::End) => Ok(()),
        Ok(Stop::Scan(_)) => Err(Error::corrupt(FORMAT, "another scan after the last row")),
        Err(_) if stream.source.is_dry() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Decodes a frame whose components come in several scans: all of them up to the end of the image, then the
/// rows.
pub(super) fn in_several(
    stream: &mut Stream<'_>,
    header: ScanHeader,
    colour: Colour,
) -> Result<Vec<u8>> {
    let frame = frame_of(stream)?;
    let coding = frame.coding;
    let mut several = Several {
        coding,
        coefficients: Coefficients::new(frame)?,
        progress: Progress::new(frame),
        work: 0,
    };
    if !coding.arithmetic && !coding.progressive {
        huffman::install_standard(stream);
    }
    let mut next = Stop::Scan(header);
    while let Stop::Scan(header) = next {
        several.scan(stream, header)?;
        next = stream.read_markers()?;
    }
    several.rows(frame_of(stream)?, colour)
}

/// What several scans have brought.
struct Several {
    coding: Coding,
    coefficients: Coefficients,
    progress: Progress,
    /// See [`MAX_WORK`].
    work: u64,
}

impl Several {
    fn scan(&mut self, stream: &mut Stream<'_>, header: ScanHeader) -> Result<()> {
        check_count(stream)?;
        let scan = Scan::begin(stream, header)?;
        if self.coding.progressive {
            self.progress.begin(&scan.header)?;
        }
        if self.coding.progressive && !self.coding.arithmetic {
            self.progressive(stream, &scan)
        } else {
            self.other(stream, &scan)
        }
    }

    fn rows(&self, frame: &Frame, colour: Colour) -> Result<Vec<u8>> {
        let smoothing = match self.coding.progressive {
            true => self.progress.smoothing(frame),
            false => None,
        };
        let mut rows = Rows::new(frame, colour)?;
        for mcu_row in 0..frame.mcus_high {
            if mcu_row > 0 {
                rows.finish_strip();
            }
            let smoothing = smoothing.as_ref();
            transform_row(frame, &self.coefficients, smoothing, mcu_row, &mut rows);
        }
        Ok(rows.finish())
    }

    /// Counts a row of MCUs.
    fn visit(&mut self, scan: &Scan) -> Result<()> {
        let (header, coding) = (&scan.header, self.coding);
        let weight = match (header.spectral_start, header.approx_high) {
            (1.., 1..) if coding.progressive => REFINEMENT,
            _ if coding.arithmetic => ARITHMETIC,
            _ => 1,
        };
        self.work += weight * (scan.mcus_wide * scan.blocks.len()) as u64;
        if self.work > MAX_WORK {
            let what = "scans that together take more work than real files do";
            return Err(Error::unsupported(FORMAT, what));
        }
        Ok(())
    }

    fn progressive(&mut self, stream: &mut Stream<'_>, scan: &Scan) -> Result<()> {
        // The careful bits do not ask where the pieces of a file end.
        stream.source.extend_all();
        let mut decoder = Progressive::begin(stream, scan)?;
        for y in 0..scan.mcus_high {
            if decoder.interval.is_over(stream) {
                break;
            }
            self.visit(scan)?;
            if decoder.row(stream, scan, &mut self.coefficients, y)? {
                self.progress.last_good_row = y / scan.rows_to_mcu;
            }
        }
        Ok(())
    }

    fn other(&mut self, stream: &mut Stream<'_>, scan: &Scan) -> Result<()> {
        let mut entropy = Entropy::begin(stream, scan)?;
        let mut blocks = [[0; 64]; MAX_MCU_BLOCKS];
        let blocks = &mut blocks[..scan.blocks.len()];
        let interleaved = scan.is_interleaved();
        for y in 0..scan.mcus_high {
            self.visit(scan)?;
            self.progress.last_good_row = y / scan.rows_to_mcu;
            for x in 0..scan.mcus_wide {
                if entropy.is_over(stream) {
                    entropy.finish(stream);
                    return Ok(());
                }
                for (block, place) in blocks.iter_mut().zip(&scan.blocks) {
                    *block = *self.coefficients.block_mut(place, (x, y), interleaved);
                }
                entropy.mcu(stream, scan, blocks, &mut 0)?;
                for (block, place) in blocks.iter().zip(&scan.blocks) {
                    *self.coefficients.block_mut(place, (x, y), interleaved) = *block;
                }
            }
        }
        entropy.finish(stream);
        Ok(())
    }
}

/// Transforms the blocks of one row of MCUs.
fn transform_row(
    frame: &Frame,
    coefficients: &Coefficients,
    smoothing: Option<&Smoothing>,
    mcu_row: usize,
    rows: &mut Rows,
) {
    for (index, component) in frame.components.iter().enumerate() {
        let first = mcu_row * component.v;
        let high = component.v.min(component.blocks_high - first);
        let quant = component.quant.unwrap_or([0; 64]);
        for y in 0..high {
            let mut transform = |x: usize, block: &Block| {
                let ac = block[1..].iter().any(|&coefficient| coefficient != 0);
                rows.block(index, (x, y), block, &quant, ac);
            };
            if let Some(smoothing) = smoothing {
                let (mcu_rows, rows) = ((mcu_row, frame.mcus_high), (y, high));
                smoothing.row(coefficients, (index, component), mcu_rows, rows, transform);
            } else {
                let row = coefficients.row(index, first + y);
                for (x, block) in row.iter().enumerate().take(component.blocks_wide) {
                    transform(x, block);
                }
            }
        }
    }
}
