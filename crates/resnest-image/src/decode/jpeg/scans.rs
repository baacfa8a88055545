//! Runs a file's scans: in one pass with the rows they give, or all of them before the first row.

use super::FORMAT;
use super::arithmetic::Arithmetic;
use super::coefficients::Coefficients;
use super::frame::{Frame, MAX_MCU_BLOCKS, Scan};
use super::huffman;
use super::markers::{Coding, ScanHeader, Stop, Stream};
use super::progressive::Progressive;
use super::rows::{Colour, Rows};
use super::sequential::{Block, Sequential};
use super::smoothing::{Progress, Smoothing};
use crate::{Error, Result};

/// Scans accepted in one file; real progressive files have about ten.
pub(super) const MAX_SCANS: usize = 500;

/// Work accepted in one file of several scans, so that a small file cannot keep a CPU for minutes: visits to
/// blocks, weighted by what one may take. The largest picture in Pillow's limit at 4:4:4 with the usual ten
/// scans makes about a quarter.
const MAX_WORK: u64 = 1 << 29;

/// Weight of a visit that refines AC coefficients, and of any other to arithmetic-coded data.
const REFINEMENT: u64 = 8;
const ARITHMETIC: u64 = 4;

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
    for mcu_y in 0..scan.mcus_high {
        if mcu_y > 0 && mcu_y.is_multiple_of(scan.rows_to_mcu) {
            rows.finish_strip();
        }
        for mcu_x in 0..scan.mcus_wide {
            blocks.fill([0; 64]);
            let mut ac = 0;
            entropy.mcu(stream, &scan, blocks, &mut ac)?;
            for (i, (place, block)) in scan.blocks.iter().zip(&*blocks).enumerate() {
                let component = &components[place.component];
                let (wide, high) = scan.share(component);
                let (x, y) = (mcu_x * wide + place.x, mcu_y * high + place.y);
                if x < component.blocks_wide
                    && y < component.blocks_high
                    && let Some(quant) = &component.quant
                {
                    let at = (x, y % component.v);
                    rows.block(place.component, at, block, quant, ac >> i & 1 != 0);
                }
            }
        }
    }
    entropy.finish(stream);
    let pixels = rows.finish();
    check_trailer(stream)?;
    Ok(pixels)
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
    let coding = frame_of(stream)?.coding;
    let mut coefficients = Coefficients::new(frame_of(stream)?)?;
    let mut progress = Progress::new(frame_of(stream)?);
    if !coding.arithmetic && !coding.progressive {
        huffman::install_standard(stream);
    }
    let mut work = 0;
    let mut next = Stop::Scan(header);
    while let Stop::Scan(header) = next {
        let scan = Scan::begin(stream, header)?;
        if stream.scans > MAX_SCANS {
            let what = format!("more than {MAX_SCANS} scans");
            return Err(Error::unsupported(FORMAT, what));
        }
        if coding.progressive {
            progress.begin(&scan.header)?;
        }
        let mut run = Run {
            scan: &scan,
            coefficients: &mut coefficients,
            progress: &mut progress,
            work: &mut work,
        };
        if coding.progressive && !coding.arithmetic {
            run.progressive(stream)?;
        } else {
            run.other(stream)?;
        }
        next = stream.read_markers()?;
    }
    let frame = frame_of(stream)?;
    let smoothing = match coding.progressive {
        true => progress.smoothing(frame),
        false => None,
    };
    let mut rows = Rows::new(frame, colour)?;
    for mcu_row in 0..frame.mcus_high {
        if mcu_row > 0 {
            rows.finish_strip();
        }
        transform_row(frame, &coefficients, smoothing.as_ref(), mcu_row, &mut rows);
    }
    Ok(rows.finish())
}

/// One scan of several.
struct Run<'r> {
    scan: &'r Scan,
    coefficients: &'r mut Coefficients,
    progress: &'r mut Progress,
    work: &'r mut u64,
}

impl Run<'_> {
    /// Counts a row of MCUs.
    fn visit(&mut self, coding: Coding) -> Result<()> {
        let header = &self.scan.header;
        let weight = match (header.spectral_start, header.approx_high) {
            (1.., 1..) if coding.progressive => REFINEMENT,
            _ if coding.arithmetic => ARITHMETIC,
            _ => 1,
        };
        *self.work += weight * (self.scan.mcus_wide * self.scan.blocks.len()) as u64;
        if *self.work > MAX_WORK {
            let what = "scans that together take more work than real files do";
            return Err(Error::unsupported(FORMAT, what));
        }
        Ok(())
    }

    fn progressive(&mut self, stream: &mut Stream<'_>) -> Result<()> {
        // The careful bits do not ask where the pieces of a file end.
        stream.source.extend_all();
        let coding = frame_of(stream)?.coding;
        let mut decoder = Progressive::begin(stream, self.scan)?;
        for y in 0..self.scan.mcus_high {
            if decoder.interval.is_over(stream) {
                break;
            }
            self.visit(coding)?;
            if decoder.row(stream, self.scan, self.coefficients, y)? {
                self.progress.last_good_row = y / self.scan.rows_to_mcu;
            }
        }
        Ok(())
    }

    fn other(&mut self, stream: &mut Stream<'_>) -> Result<()> {
        let coding = frame_of(stream)?.coding;
        let mut entropy = Entropy::begin(stream, self.scan)?;
        let mut blocks = [[0; 64]; MAX_MCU_BLOCKS];
        let blocks = &mut blocks[..self.scan.blocks.len()];
        let interleaved = self.scan.is_interleaved();
        for y in 0..self.scan.mcus_high {
            self.visit(coding)?;
            self.progress.last_good_row = y / self.scan.rows_to_mcu;
            for x in 0..self.scan.mcus_wide {
                if entropy.is_over(stream) {
                    entropy.finish(stream);
                    return Ok(());
                }
                for (block, place) in blocks.iter_mut().zip(&self.scan.blocks) {
                    *block = *self.coefficients.block_mut(place, (x, y), interleaved);
                }
                entropy.mcu(stream, self.scan, blocks, &mut 0)?;
                for (block, place) in blocks.iter().zip(&self.scan.blocks) {
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
