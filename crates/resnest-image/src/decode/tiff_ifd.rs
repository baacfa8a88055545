//! The directory of a TIFF.

use super::bytes::array;
use crate::{Error, Format, Result};

/// Values read of one tag; more than any image within the limits needs.
const MAX_VALUES: u64 = 1 << 22;

/// A TIFF file: its bytes, byte order and the width of its offsets.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub bytes: &'a [u8],
    pub big_endian: bool,
    /// BigTIFF: 64-bit offsets and counts.
    big: bool,
}

/// The entries of the first directory.
pub(super) struct Directory<'a> {
    pub file: File<'a>,
    entries: &'a [u8],
}

impl<'a> File<'a> {
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (big_endian, big) = match bytes.first_chunk()? {
            b"II*\0" => (false, false),
            b"MM\0*" => (true, false),
            b"II+\0" => (false, true),
            b"MM\0+" => (true, true),
            _ => return None,
        };
        Some(Self {
            bytes,
            big_endian,
            big,
        })
    }

    fn uint<const N: usize>(&self, at: usize) -> Option<u64> {
        let mut bytes: [u8; N] = array(self.bytes, at)?;
        if !self.big_endian {
            bytes.reverse();
        }
        Some(
            bytes
                .iter()
                .fold(0, |value, &byte| value << 8 | u64::from(byte)),
        )
    }

    fn offset(&self, at: usize) -> Option<u64> {
        if self.big {
            self.uint::<8>(at)
        } else {
            self.uint::<4>(at)
        }
    }

    /// The first directory.
    pub fn directory(self) -> Option<Directory<'a>> {
        let at = usize::try_from(self.offset(if self.big { 8 } else { 4 })?).ok()?;
        let (count, start) = if self.big {
            (self.uint::<8>(at)?, at.checked_add(8)?)
        } else {
            (self.uint::<2>(at)?, at.checked_add(2)?)
        };
        let len = usize::try_from(count)
            .ok()?
            .checked_mul(self.entry_size())?;
        let entries = self.bytes.get(start..start.checked_add(len)?)?;
        Some(Directory {
            file: self,
            entries,
        })
    }

    fn entry_size(&self) -> usize {
        if self.big { 20 } else { 12 }
    }
}

impl<'a> Directory<'a> {
    /// Type, count and payload of a tag; the payload is cut to what the file holds.
    fn find(&self, tag: u16) -> Option<(u64, u64, &'a [u8])> {
        let file = &self.file;
        let base = self.entries.as_ptr() as usize - file.bytes.as_ptr() as usize;
        let mut places = (0..self.entries.len())
            .step_by(file.entry_size())
            .map(|at| base + at);
        let at = places.find(|&at| file.uint::<2>(at) == Some(u64::from(tag)))?;
        let kind = file.uint::<2>(at + 2)?;
        let (count, inline, room) = if file.big {
            (file.uint::<8>(at + 4)?, at + 12, 8)
        } else {
            (file.uint::<4>(at + 4)?, at + 8, 4)
        };
        let len = count.checked_mul(size_of(kind)?)?;
        let start = if len <= room {
            inline
        } else {
            usize::try_from(file.offset(inline)?).ok()?
        };
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        Some((
            kind,
            count,
            file.bytes.get(start..end.min(file.bytes.len()))?,
        ))
    }

    /// All values of an unsigned tag.
    pub fn values(&self, tag: u16) -> Result<Option<Vec<u64>>> {
        let Some((kind, count, payload)) = self.find(tag) else {
            return Ok(None);
        };
        let size = size_of(kind).unwrap_or(1) as usize;
        if count > MAX_VALUES || (payload.len() / size) < count as usize {
            let detail = format!("tag {tag} claims {count} values");
            return Err(Error::corrupt(Format::Tiff, detail));
        }
        let value = |item: &[u8]| {
            let mut bytes = [0; 8];
            bytes[..size].copy_from_slice(item);
            if self.file.big_endian {
                bytes[..size].reverse();
            }
            u64::from_le_bytes(bytes)
        };
        match kind {
            1 | 3 | 4 | 7 | 13 | 16 | 18 => {
                Ok(Some(payload.chunks_exact(size).map(value).collect()))
            }
            _ => Err(Error::corrupt(
                Format::Tiff,
                format!("tag {tag} has type {kind}"),
            )),
        }
    }

    /// The first value of an unsigned tag.
    pub fn value(&self, tag: u16) -> Result<Option<u64>> {
        Ok(self.values(tag)?.and_then(|values| values.first().copied()))
    }

    /// The payload of a tag of bytes.
    pub fn payload(&self, tag: u16) -> Result<Option<&'a [u8]>> {
        match self.find(tag) {
            Some((1 | 2 | 7, count, payload)) if count > payload.len() as u64 => Err(
                Error::truncated(Format::Tiff, format!("the file ends inside tag {tag}")),
            ),
            found => Ok(found.map(|(_, _, payload)| payload)),
        }
    }
}

fn size_of(kind: u64) -> Option<u64> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => return None,
    })
}
