//! The file as libjpeg gets it from Pillow: pieces of 64 KiB, each handed over when the last ran dry.
//!
//! Where a piece ends matters in three places. Arithmetic decoding cannot wait for more and fails
//! (`jdarith.c`), what follows the last row is looked at only as far as the piece goes (`JpegDecode.c`, state
//! 4), and libjpeg's quick Huffman loop runs only where enough of the piece is left.

use super::FORMAT;
use crate::{Error, Result};

/// Pillow's `ImageFile.MAXBLOCK`.
const PIECE: usize = 65536;

/// The bytes of a file, of which those before `end` have been handed over.
#[derive(Debug, Clone)]
pub(super) struct Source<'a> {
    data: &'a [u8],
    /// Next byte.
    pub pos: usize,
    /// End of the current piece; never past the data.
    end: usize,
    /// No further piece will be asked for.
    last: bool,
    /// A byte was wanted that is not there.
    dry: bool,
}

impl<'a> Source<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            pos: 0,
            end: data.len().min(PIECE),
            last: false,
            dry: false,
        }
    }

    /// The bytes that have been handed over, from the start of the file.
    pub fn piece(&self) -> &'a [u8] {
        self.data.get(..self.end).unwrap_or_default()
    }

    /// Bytes left of the current piece.
    pub fn left(&self) -> usize {
        self.end.saturating_sub(self.pos)
    }

    /// Hands over the next piece; false when there is none.
    pub fn extend(&mut self) -> bool {
        let more = !self.last && self.end < self.data.len();
        if more {
            self.end = self.data.len().min(self.end + PIECE);
        }
        more
    }

    /// Hands over the whole file.
    pub fn extend_all(&mut self) {
        while self.extend() {}
    }

    /// Asks for no further piece from here on.
    pub fn close(&mut self) {
        self.last = true;
    }

    /// Asks for further pieces again.
    pub fn reopen(&mut self) {
        self.last = false;
    }

    /// Whether an error came from a byte that is not there.
    pub fn is_dry(&self) -> bool {
        self.dry
    }

    /// The error of a byte that is not there.
    pub fn ran_dry(&mut self) -> Error {
        self.dry = true;
        Error::truncated(FORMAT, "the file ends before the picture does")
    }

    pub fn byte(&mut self) -> Result<u8> {
        loop {
            if self.pos < self.end
                && let Some(&byte) = self.data.get(self.pos)
            {
                self.pos += 1;
                return Ok(byte);
            }
            if !self.extend() {
                return Err(self.ran_dry());
            }
        }
    }

    pub fn word(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    pub fn skip(&mut self, len: usize) -> Result<()> {
        while len > self.left() {
            if !self.extend() {
                return Err(self.ran_dry());
            }
        }
        self.pos += len;
        Ok(())
    }
}
