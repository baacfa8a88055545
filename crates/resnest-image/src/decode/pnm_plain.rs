//! PNM samples written in decimal, read in blocks as Pillow's `PpmPlainDecoder` reads them: where a block ends shows in
//! which comments and words it takes.

use std::borrow::Cow;

use super::pnm::{FORMAT, integer, is_space};
use crate::memory::reserved;
use crate::{Error, Result};

/// Bytes that are read at once: `ImageFile.SAFEBLOCK`.
pub(super) const BLOCK: usize = 1 << 20;

/// The most bytes of a sample.
const LONGEST: usize = 10;

struct Blocks<'a> {
    rest: &'a [u8],
    /// Whether a block ended inside a comment.
    in_comment: bool,
}

impl<'a> Blocks<'a> {
    fn new(rest: &'a [u8]) -> Self {
        let in_comment = false;
        Self { rest, in_comment }
    }

    /// The next block as it is; empty at the end.
    fn read(&mut self) -> &'a [u8] {
        let (block, rest) = self.rest.split_at(self.rest.len().min(BLOCK));
        self.rest = rest;
        block
    }

    /// A block less its comments, with the ends of their lines; it reads on to finish the comment before it.
    fn without_comments<'b>(&mut self, mut block: &'b [u8]) -> Result<Cow<'b, [u8]>>
    where
        'a: 'b,
    {
        while self.in_comment && !block.is_empty() {
            match end_of_comment(block) {
                Some(end) => {
                    block = &block[end + 1..];
                    break;
                }
                None => block = self.read(),
            }
        }
        self.in_comment = false;
        if !block.contains(&b'#') {
            return Ok(Cow::Borrowed(block));
        }
        let mut out = reserved(block.len())?;
        while let Some(start) = block.iter().position(|&byte| byte == b'#') {
            out.extend_from_slice(&block[..start]);
            block = match end_of_comment(&block[start..]) {
                Some(end) => &block[start + end + 1..],
                None => {
                    self.in_comment = true;
                    &[]
                }
            };
        }
        out.extend_from_slice(block);
        Ok(Cow::Owned(out))
    }
}

/// The first end of a line; but if one of the two kinds begins the block, the other one.
fn end_of_comment(block: &[u8]) -> Option<usize> {
    let find = |end: u8| block.iter().position(|&byte| byte == end);
    match (find(b'\n'), find(b'\r')) {
        (Some(0), Some(at)) | (Some(at), Some(0)) => Some(at),
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn too_few(have: usize, len: usize) -> Error {
    Error::truncated(FORMAT, format!("{have} samples of {len}"))
}

/// `len` digits, 0 for white; the rest of the last block has to be digits too.
pub(super) fn bits(data: &[u8], len: usize) -> Result<Vec<u8>> {
    let (mut blocks, mut out) = (Blocks::new(data), reserved(len)?);
    while out.len() < len {
        let block = blocks.read();
        if block.is_empty() {
            return Err(too_few(out.len(), len));
        }
        for &byte in blocks.without_comments(block)?.iter() {
            match byte {
                byte if is_space(byte) => {}
                b'0' | b'1' if out.len() == len => {}
                b'0' => out.push(255),
                b'1' => out.push(0),
                _ => {
                    let detail = format!("byte {byte:#04x} among the bits");
                    return Err(Error::corrupt(FORMAT, detail));
                }
            }
        }
    }
    Ok(out)
}

/// `len` samples of at most `maxval`, each by `scaled`.
pub(super) fn values(
    data: &[u8],
    maxval: u32,
    len: usize,
    scaled: impl Fn(u32) -> u8,
) -> Result<Vec<u8>> {
    let (mut blocks, mut out) = (Blocks::new(data), reserved(len)?);
    // The beginning of a word whose end is in the next block.
    let mut half = Vec::new();
    while out.len() < len {
        let block = match blocks.read() {
            [] if half.is_empty() => return Err(too_few(out.len(), len)),
            [] => b" ",
            block => block,
        };
        let mut block = blocks.without_comments(block)?;
        if !half.is_empty() {
            half.extend_from_slice(&block);
            block = Cow::Owned(std::mem::take(&mut half));
        }
        let whole = match block.last() {
            Some(&last) if !is_space(last) => {
                let start = block.iter().rposition(|&byte| is_space(byte));
                let (whole, last) = block.split_at(start.map_or(0, |at| at + 1));
                check_length(last)?;
                half = last.to_vec();
                whole
            }
            _ => &block[..],
        };
        let words = whole.split(|&byte| is_space(byte));
        let words = words.filter(|word| !word.is_empty());
        for word in words.take(len - out.len()) {
            out.push(scaled(sample(word, maxval)?));
        }
    }
    Ok(out)
}

fn check_length(word: &[u8]) -> Result<()> {
    if word.len() > LONGEST {
        return Err(Error::corrupt(FORMAT, "a sample of more than ten digits"));
    }
    Ok(())
}

fn sample(word: &[u8], maxval: u32) -> Result<u32> {
    check_length(word)?;
    match integer(word) {
        Some(value) if (0..=i64::from(maxval)).contains(&value) => Ok(value as u32),
        _ => {
            let detail = format!(
                "a sample of \"{}\" where {maxval} is the most",
                word.escape_ascii()
            );
            Err(Error::corrupt(FORMAT, detail))
        }
    }
}
