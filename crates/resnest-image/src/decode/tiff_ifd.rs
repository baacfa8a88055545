//! The directory of a TIFF, by the rules of Pillow's `ImageFileDirectory_v2.load`: what ends early counts as far as it
//! goes.

use super::bytes::array;
use crate::{Error, Format, Result};

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
    /// Whether all entries lie in the file.
    pub whole: bool,
    tags: Vec<Tag<'a>>,
    /// How many of them Pillow sees: it stops where one's data lies outside the file, libtiff does not.
    seen: usize,
    /// Bytes of the header, the directory and what its entries point to.
    pub overhead: u64,
    /// Whether those without values, or of an unknown type, count.
    empty: bool,
}

#[derive(Clone, Copy)]
struct Tag<'a> {
    number: u16,
    kind: u16,
    data: &'a [u8],
}

/// The values of a tag of integers.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    data: &'a [u8],
    size: usize,
    signed: bool,
    big_endian: bool,
}

impl<'a> File<'a> {
    /// By the first four bytes, which may be in the wrong order too; big-endian BigTIFF is taken for plain TIFF.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (big_endian, big) = match bytes.first_chunk()? {
            b"II*\0" | b"II\0*" => (false, false),
            b"MM\0*" | b"MM*\0" | b"MM\0+" => (true, false),
            b"II+\0" => (false, true),
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

    /// The first directory; nothing when there is no offset of one.
    pub fn directory(self) -> Option<Directory<'a>> {
        let at = self.offset(if self.big { 8 } else { 4 })?;
        let mut directory = Directory {
            file: self,
            whole: false,
            tags: Vec::new(),
            seen: usize::MAX,
            overhead: 0,
            empty: false,
        };
        if at != 0 {
            directory.whole = self
                .read_tags(usize::try_from(at).ok()?, &mut directory)
                .is_some();
        }
        Some(directory)
    }

    /// Reads entries until one ends outside the file.
    fn read_tags(&self, at: usize, directory: &mut Directory<'a>) -> Option<()> {
        let (count, mut at) = if self.big {
            (self.uint::<8>(at)?, at.checked_add(8)?)
        } else {
            (self.uint::<2>(at)?, at.checked_add(2)?)
        };
        let (entry, room) = if self.big { (20, 8) } else { (12, 4) };
        directory.overhead = if self.big { 32 } else { 14 } + count.saturating_mul(entry as u64);
        let mut seen = [0u64; 1024];
        let mut total = 0u128;
        for _ in 0..count {
            let (number, kind) = (self.uint::<2>(at)? as u16, self.uint::<2>(at + 2)? as u16);
            let values = self.offset(at + 4)?;
            let inline = self.bytes.get(at + entry - room..at + entry)?;
            let place = at + entry - room;
            at += entry;
            let (word, bit) = (usize::from(number / 64), 1 << (number % 64));
            if seen[word] & bit != 0 {
                continue;
            }
            let Some(unit) = size_of(kind) else {
                directory.tags.push(Tag {
                    number,
                    kind,
                    data: &[],
                });
                continue;
            };
            let len = u128::from(values) * u128::from(unit);
            let data = if len <= room as u128 {
                &inline[..len as usize]
            } else {
                directory.overhead = directory
                    .overhead
                    .saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
                let start = self.offset(place)?;
                if start >= 1 << 63 {
                    continue;
                }
                total += len;
                // Tags of more data than the file has are passed over; to libtiff they have no values.
                if total > self.bytes.len() as u128 {
                    let data = &[];
                    directory.tags.push(Tag { number, kind, data });
                    continue;
                }
                let start = usize::try_from(start).ok()?;
                let data = self.bytes.get(start..start.checked_add(len as usize)?);
                // Pillow reads no further; to libtiff the tag has no values.
                if data.is_none() {
                    directory.seen = directory.seen.min(directory.tags.len());
                }
                data.unwrap_or_default()
            };
            if !data.is_empty() {
                seen[word] |= bit;
            }
            directory.tags.push(Tag { number, kind, data });
        }
        Some(())
    }
}

impl<'a> Directory<'a> {
    /// From now on, the tags that libtiff sees.
    pub fn all_tags(&mut self) {
        (self.seen, self.empty) = (usize::MAX, true);
    }

    fn find(&self, number: u16) -> Option<Tag<'a>> {
        let seen = self.tags.iter().take(self.seen);
        let mut found = seen.filter(|tag| tag.number == number);
        found
            .find(|tag| self.empty || !tag.data.is_empty())
            .copied()
    }

    /// All values of a tag of integers; of bytes only where `bytes_too`, since Pillow takes no number from them.
    pub fn values(&self, number: u16, bytes_too: bool) -> Result<Option<Values<'a>>> {
        let Some(Tag { kind, data, .. }) = self.find(number) else {
            return Ok(None);
        };
        let integers = matches!(kind, 3 | 4 | 6 | 8 | 9 | 13 | 16) || (kind == 1 && bytes_too);
        match size_of(kind) {
            Some(size) if integers => Ok(Some(Values {
                data,
                size: size as usize,
                signed: matches!(kind, 6 | 8 | 9),
                big_endian: self.file.big_endian,
            })),
            _ => Err(Error::unsupported(
                Format::Tiff,
                format!("tag {number} has type {kind}, not integers"),
            )),
        }
    }

    /// The first value of a tag of integers.
    pub fn value(&self, number: u16) -> Result<Option<u64>> {
        match self.values(number, false)? {
            Some(values) => match values.get(0) {
                Some(value) => Ok(Some(value)),
                None => Err(Error::corrupt(
                    Format::Tiff,
                    format!("tag {number} is negative"),
                )),
            },
            None => Ok(None),
        }
    }

    /// Type and bytes of a tag.
    pub fn raw(&self, number: u16) -> Option<(u16, &'a [u8])> {
        self.find(number).map(|tag| (tag.kind, tag.data))
    }
}

impl Values<'_> {
    pub fn len(&self) -> usize {
        self.data.len() / self.size
    }

    /// The value at `index`; nothing past the end, and for negative ones.
    pub fn get(&self, index: usize) -> Option<u64> {
        let at = index.checked_mul(self.size)?;
        let item = self.data.get(at..at + self.size)?;
        let mut bytes = [0; 8];
        bytes[..self.size].copy_from_slice(item);
        if self.big_endian {
            bytes[..self.size].reverse();
        }
        let negative = self.signed && bytes[self.size - 1] >= 0x80;
        (!negative).then_some(u64::from_le_bytes(bytes))
    }

    /// All of them, if there are at most `most` and none is negative.
    pub fn list(&self, most: usize) -> Option<Vec<u64>> {
        if self.len() > most {
            return None;
        }
        (0..self.len()).map(|i| self.get(i)).collect()
    }
}

/// Bytes of one value of a type; nothing for types that TIFF does not have.
pub(super) fn size_of(kind: u16) -> Option<u64> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 => 8,
        _ => return None,
    })
}
