//! The resolution in an EXIF block, which Pillow's plugin asks for as it opens a file, and on which it can
//! stumble (`JpegImagePlugin._read_dpi_from_exif`, `TiffImagePlugin.ImageFileDirectory_v2.load`).

/// Bytes of a value of each TIFF type; 0 is a type that Pillow passes over.
const SIZES: [u64; 17] = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8];

const RESOLUTION_UNIT: u16 = 0x0128;
const X_RESOLUTION: u16 = 0x011a;

/// An EXIF block as Pillow reads it.
struct Block<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> Block<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.first_chunk()? {
            b"MM\0*" | b"MM*\0" | b"MM\0+" => true,
            b"II*\0" | b"II\0*" => false,
            _ => return None,
        };
        Some(Self { bytes, big_endian })
    }

    fn uint(&self, at: usize, len: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(len)?)?;
        let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(match self.big_endian {
            true => bytes.iter().fold(0, push),
            false => bytes.iter().rev().fold(0, push),
        })
    }

    /// The first directory's entries of the two tags, as far as it can be read: type and payload.
    fn entries(&self) -> [Option<(usize, &'a [u8])>; 2] {
        let mut found = [None; 2];
        // A directory that breaks off leaves what was read before.
        let _ = self.read(&mut found);
        found
    }

    fn read(&self, found: &mut [Option<(usize, &'a [u8])>; 2]) -> Option<()> {
        let start = self.uint(4, 4)? as usize;
        let mut total = 0;
        for i in 0..self.uint(start, 2)? as usize {
            let at = start + 2 + 12 * i;
            let (tag, kind) = (self.uint(at, 2)? as u16, self.uint(at + 2, 2)? as usize);
            let count = self.uint(at + 4, 4)?;
            let offset = self.uint(at + 8, 4)? as usize;
            let slot = [RESOLUTION_UNIT, X_RESOLUTION]
                .iter()
                .position(|&wanted| wanted == tag);
            if slot.is_some_and(|slot| found[slot].is_some()) {
                continue;
            }
            let size = count * SIZES.get(kind).copied().unwrap_or_default();
            let mut from = at + 8;
            if size > 4 {
                total += size;
                if total > self.bytes.len() as u64 {
                    continue;
                }
                from = offset;
            }
            let payload = self.bytes.get(from..from.checked_add(size as usize)?)?;
            if let Some(slot) = slot.filter(|_| size > 0) {
                found[slot] = Some((kind, payload));
            }
        }
        Some(())
    }
}

/// Whether the plugin fails on the block: it takes a resolution of bytes or text for a pair of numbers, and
/// does not expect one that is too short.
pub(super) fn stops_the_plugin(exif: &[u8]) -> bool {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let entries = Block::new(exif).map(|block| block.entries());
    let Some([Some(_), Some((kind, payload))]) = entries else {
        return false;
    };
    match kind {
        1 | 7 => payload.len() < 2,
        2 => matches!(
            payload.strip_suffix(b"\0").unwrap_or(payload),
            [] | [b'0'..=b'9']
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of a unit and of a resolution of a type, a count and four bytes.
    fn block(kind: u8, count: u8, value: [u8; 4]) -> Vec<u8> {
        let mut block = b"II*\0\x08\0\0\0\x02\0".to_vec();
        block.extend([0x28, 1, 3, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        block.extend([0x1a, 1, kind, 0, count, 0, 0, 0]);
        block.extend(value);
        block
    }

    #[test]
    fn it_stops_where_pillow_raises_an_index_error() {
        // Tried with Pillow 13: each of these `Image.open` refuses, or reads.
        let refused = [
            (1, 1, *b"\x07\0\0\0"),
            (7, 1, [0; 4]),
            (2, 1, [0; 4]),
            (2, 2, *b"7\0\0\0"),
        ];
        let read = [
            (1, 2, [0; 4]),
            (2, 1, *b"x\0\0\0"),
            (2, 2, *b"72\0\0"),
            (3, 1, [0; 4]),
            (4, 1, [0; 4]),
        ];
        for (kind, count, value) in refused {
            assert!(
                stops_the_plugin(&block(kind, count, value)),
                "{kind} {count}"
            );
        }
        for (kind, count, value) in read {
            assert!(
                !stops_the_plugin(&block(kind, count, value)),
                "{kind} {count}"
            );
        }
        let mut without_unit = block(1, 1, [0; 4]);
        without_unit[10] = 0x27;
        assert!(!stops_the_plugin(&without_unit));
    }
}
