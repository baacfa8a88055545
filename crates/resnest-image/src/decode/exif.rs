//! The EXIF block of a JPEG, PNG or WebP, as Pillow's `Image.Exif` reads it: a small TIFF whose damage ends
//! the reading, while what came before it counts.

use std::collections::HashMap;

use super::bytes::{array, u16_be, u16_le, u32_be, u32_le};
use super::tiff_ifd::size_of;

const ORIENTATION: u16 = 0x0112;
const X_RESOLUTION: u16 = 0x011a;
const RESOLUTION_UNIT: u16 = 0x0128;

/// The tags of a block's first directory: type and payload.
struct Tags<'a> {
    big_endian: bool,
    found: HashMap<u16, (u16, &'a [u8])>,
}

impl<'a> Tags<'a> {
    /// `None` where Pillow says that it is no TIFF. A header of BigTIFF is one of them: its offset lies
    /// beyond the eight bytes that Pillow takes for the header.
    fn new(block: &'a [u8]) -> Option<Self> {
        // Pillow takes off two of these; whoever found the block took off one.
        let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        let big_endian = match block.first_chunk()? {
            b"MM\0*" | b"MM*\0" | b"MM\0+" => true,
            b"II*\0" | b"II\0*" => false,
            _ => return None,
        };
        let mut tags = Self {
            big_endian,
            found: HashMap::new(),
        };
        let start = tags.u32(block, 4)? as usize;
        // An entry that cannot be read ends the reading, not the block.
        let _ = tags.read(block, start);
        Some(tags)
    }

    fn u16(&self, bytes: &[u8], at: usize) -> Option<u16> {
        if self.big_endian {
            u16_be(bytes, at)
        } else {
            u16_le(bytes, at)
        }
    }

    fn u32(&self, bytes: &[u8], at: usize) -> Option<u32> {
        if self.big_endian {
            u32_be(bytes, at)
        } else {
            u32_le(bytes, at)
        }
    }

    fn read(&mut self, block: &'a [u8], start: usize) -> Option<()> {
        let count = self.u16(block, start)?;
        // Payloads outside their entries may not be more in all than the block is.
        let mut outside = 0;
        for at in (start + 2..).step_by(12).take(count.into()) {
            let entry = block.get(at..at + 12)?;
            let (tag, kind) = (self.u16(entry, 0)?, self.u16(entry, 2)?);
            let Some(size) = size_of(kind).filter(|_| !self.found.contains_key(&tag)) else {
                continue;
            };
            let len = u64::from(self.u32(entry, 4)?) * size;
            let payload = if len <= 4 {
                &entry[8..8 + len as usize]
            } else {
                outside += len;
                if outside > block.len() as u64 {
                    continue;
                }
                let from = self.u32(entry, 8)? as usize;
                block.get(from..)?.get(..len as usize)?
            };
            if !payload.is_empty() {
                self.found.insert(tag, (kind, payload));
            }
        }
        Some(())
    }

    /// The first value of a tag of numbers, if it is an integer.
    fn integer(&self, tag: u16) -> Option<i64> {
        let &(kind, payload) = self.found.get(&tag)?;
        let word = |at| self.u32(payload, at);
        let signed = |at| word(at).map(|v| i64::from(v as i32));
        let quotient = |n: i64, d: i64| n.checked_rem(d).filter(|&rest| rest == 0).map(|_| n / d);
        match kind {
            3 => self.u16(payload, 0).map(i64::from),
            4 | 13 => word(0).map(i64::from),
            5 => quotient(word(0)?.into(), word(4)?.into()),
            6 => payload.first().map(|&v| i64::from(v as i8)),
            8 => self.u16(payload, 0).map(|v| i64::from(v as i16)),
            9 => signed(0),
            10 => quotient(signed(0)?, signed(4)?),
            11 => whole(f32::from_bits(word(0)?).into()),
            12 => whole(f64::from_bits(self.u64(payload)?)),
            16 => i64::try_from(self.u64(payload)?).ok(),
            _ => None,
        }
    }

    fn u64(&self, bytes: &[u8]) -> Option<u64> {
        let bytes = array(bytes, 0)?;
        Some(if self.big_endian {
            u64::from_be_bytes(bytes)
        } else {
            u64::from_le_bytes(bytes)
        })
    }
}

fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0).then_some(value as i64)
}

/// The orientation that Pillow's `exif_transpose` turns by, 1 (as it is) to 8; `xmp` counts where the block
/// has no such tag.
pub(super) fn orientation(block: Option<&[u8]>, xmp: Option<&[u8]>) -> u16 {
    let value = match block.map(Tags::new) {
        // No TIFF at all: Pillow fails before it comes to the XMP packet.
        Some(None) => None,
        Some(Some(tags)) if tags.found.contains_key(&ORIENTATION) => tags.integer(ORIENTATION),
        _ => xmp.and_then(of_xmp),
    };
    value
        .and_then(|value| u16::try_from(value).ok())
        .filter(|value| (1..=8).contains(value))
        .unwrap_or(1)
}

/// The orientation in an XMP packet.
fn of_xmp(packet: &[u8]) -> Option<i64> {
    const NAME: &[u8] = b"tiff:Orientation";
    let after = (0..packet.len()).filter_map(|at| packet[at..].strip_prefix(NAME));
    let mut values = after.filter_map(|rest| rest.strip_prefix(b"=\"").or(rest.strip_prefix(b">")));
    values.find_map(|value| match value.first() {
        Some(digit @ b'0'..=b'9') => Some(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Whether Pillow fails to open a JPEG that leaves its resolution to this block: it indexes a resolution
/// that is text or bytes, and does not expect that it is too short.
pub(super) fn resolution_stops_pillow(block: &[u8]) -> bool {
    let Some(tags) = Tags::new(block).filter(|tags| tags.found.contains_key(&RESOLUTION_UNIT))
    else {
        return false;
    };
    match tags.found.get(&X_RESOLUTION) {
        Some((2, text)) => match text.strip_suffix(b"\0").unwrap_or(text) {
            [] => true,
            [only] => only.is_ascii_digit(),
            _ => false,
        },
        Some((1 | 7, bytes)) => bytes.len() < 2,
        _ => false,
    }
}
