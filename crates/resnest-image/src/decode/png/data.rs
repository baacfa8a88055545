//! The compressed rows: fed as Pillow feeds them, inflated and placed row by row.
//!
//! Pillow gives zlib a block at a time, never past the end of a chunk, and asks for one row at a time. A
//! stream that ends with a row is a whole picture to it, whose other rows stay black; one that breaks is an
//! error only if zlib sees it while it finishes the last row. Both depend on zlib's habit to look on for the end of the
//! stream when there is no room left for bytes, which zlib-rs, a port of it, has too.

use zlib_rs::{Inflate, InflateFlush, Status};

use super::chunks::{Area, Feed};
use super::{FORMAT, Mode, filter};
use crate::memory::filled;
use crate::{Error, Result};

/// Adam7: first column and row of each pass, and the steps between its columns and rows.
const PASSES: [[usize; 4]; 7] = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
];

/// Where rows go, and which is next.
pub(super) struct Rows {
    mode: Mode,
    area: Area,
    /// The pass of an interlaced picture.
    pass: Option<usize>,
    y: usize,
}

impl Rows {
    pub fn new(mode: Mode, area: Area, interlaced: bool) -> Self {
        Self {
            mode,
            area,
            pass: interlaced.then_some(0),
            y: 0,
        }
    }

    /// Pixels of the next row.
    fn pixels(&self) -> usize {
        let Some([x, _, step, _]) = self.pass.and_then(|pass| PASSES.get(pass)) else {
            return self.area.width;
        };
        self.area.width.saturating_sub(*x).div_ceil(*step)
    }

    /// Bytes of the next row, without its filter.
    fn len(&self) -> usize {
        (self.pixels() * self.mode.bits()).div_ceil(8)
    }

    /// Bytes of all rows with their filters.
    fn total(&self) -> usize {
        let bytes = |pixels: usize, rows: usize| match pixels {
            0 => 0,
            _ => ((pixels * self.mode.bits()).div_ceil(8) + 1) * rows,
        };
        let Area { width, height, .. } = self.area;
        if self.pass.is_none() {
            return bytes(width, height);
        }
        let side = |len: usize, from, step| len.saturating_sub(from).div_ceil(step);
        let passes = PASSES.iter();
        passes
            .map(|&[x, y, dx, dy]| bytes(side(width, x, dx), side(height, y, dy)))
            .sum()
    }

    /// Puts a row into a picture of rows of `stride` pixels.
    fn place(&self, row: &[u8], scratch: &mut [u8], data: &mut [u8], stride: usize) {
        let kept = self.mode.kept();
        let Some([x, _, step, _]) = self.pass.and_then(|pass| PASSES.get(pass)) else {
            let at = ((self.area.y + self.y) * stride + self.area.x) * kept;
            self.mode
                .unpack(row, &mut data[at..at + self.area.width * kept]);
            return;
        };
        // Pillow, too, forgets where the area begins when a picture is interlaced.
        let scratch = &mut scratch[..self.pixels() * kept];
        self.mode.unpack(row, scratch);
        let target = &mut data[self.y * stride * kept..][..stride * kept];
        for (i, pixel) in scratch.chunks_exact(kept).enumerate() {
            let at = (x + i * step) * kept;
            target[at..at + kept].copy_from_slice(pixel);
        }
    }

    /// Goes to the next row; whether it is the first of a pass. None when there is none.
    fn advance(&mut self) -> Option<bool> {
        let Some(mut pass) = self.pass else {
            self.y += 1;
            return (self.y < self.area.height).then_some(false);
        };
        let before = pass;
        self.y += PASSES[pass][3];
        while self.y >= self.area.height || self.pixels() == 0 {
            pass += 1;
            self.y = PASSES.get(pass)?[1];
            self.pass = Some(pass);
        }
        Some(pass != before)
    }
}

/// Bytes that are inflated at once, if a row is not longer.
const BATCH: usize = 128 << 10;

/// Inflated bytes: the row above, whole rows that wait, the beginning of one more.
struct Buffer {
    bytes: Vec<u8>,
    /// Where the next row begins, and where the inflated bytes end.
    next: usize,
    end: usize,
    /// Bytes of the row above the next one, which lies right before it; 0 where there is none.
    above: usize,
    /// What stands in for a row above.
    blank: Vec<u8>,
}

impl Buffer {
    fn new(longest: usize) -> Result<Self> {
        Ok(Self {
            bytes: filled(longest.saturating_mul(3).max(BATCH), 0)?,
            next: 0,
            end: 0,
            above: 0,
            blank: filled(longest, 0)?,
        })
    }

    /// Moves what is needed to the front when there is no room left.
    fn compact(&mut self) {
        if self.end == self.bytes.len() {
            let from = self.next - self.above;
            self.bytes.copy_within(from..self.end, 0);
            self.next -= from;
            self.end -= from;
        }
    }

    /// The next row of `len` bytes and its filter, undone, if it is there.
    fn row(&mut self, len: usize, pixel: usize) -> Result<Option<&[u8]>> {
        if self.end - self.next < len + 1 {
            return Ok(None);
        }
        let (before, row) = self.bytes.split_at_mut(self.next);
        let above = match self.above {
            0 => &self.blank[..len],
            above => &before[before.len() - above + 1..],
        };
        let (kind, row) = (row[0], &mut row[1..=len]);
        if !filter::undo(kind, row, above, pixel) {
            let detail = format!("a row has filter {kind}");
            return Err(Error::corrupt(FORMAT, detail));
        }
        self.next += len + 1;
        self.above = len + 1;
        Ok(Some(row))
    }
}

/// Inflates `feed` into `data`, a picture of rows of `stride` pixels, until all rows are there.
pub(super) fn read(feed: &mut Feed, mut rows: Rows, data: &mut [u8], stride: usize) -> Result<()> {
    let longest = (rows.area.width * rows.mode.bits()).div_ceil(8) + 1;
    let pixel = rows.mode.bits().div_ceil(8);
    let mut buffer = Buffer::new(longest)?;
    let mut scratch = match rows.pass {
        Some(_) => filled(rows.area.width * rows.mode.kept(), 0)?,
        None => Vec::new(),
    };
    let mut inflate = Inflate::new(true, 15);
    // Never given room for more, so that zlib looks for the end of the stream as it does for Pillow.
    let mut missing = rows.total();
    loop {
        let mut input = feed.next()?;
        let block_start = inflate.total_out();
        while !input.is_empty() {
            buffer.compact();
            let room = (buffer.bytes.len() - buffer.end).min(missing);
            let before = (inflate.total_in(), inflate.total_out());
            let out = &mut buffer.bytes[buffer.end..buffer.end + room];
            let status = inflate
                .decompress(input, out, InflateFlush::NoFlush)
                .map_err(|e| Error::corrupt(FORMAT, format!("zlib: {}", e.as_str())))?;
            input = &input[(inflate.total_in() - before.0) as usize..];
            let got = (inflate.total_out() - before.1) as usize;
            buffer.end += got;
            missing -= got;
            while let Some(row) = buffer.row(rows.len(), pixel)? {
                rows.place(row, &mut scratch, data, stride);
                match rows.advance() {
                    None => return Ok(()),
                    Some(true) => buffer.above = 0,
                    Some(false) => {}
                }
            }
            if status == Status::StreamEnd {
                let with_a_row = buffer.next == buffer.end && inflate.total_out() > block_start;
                return if with_a_row {
                    Ok(())
                } else {
                    Err(Error::truncated(
                        FORMAT,
                        "the stream ends before the pixels",
                    ))
                };
            }
        }
    }
}
