//! Bounds-checked integers from untrusted bytes.

/// `N` bytes at `at`, or nothing when the data ends before.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub(super) fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

pub(super) fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

pub(super) fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// Expands a row of samples of 1, 2 or 4 bits, most significant first, each times `scale`, to as many as `out` holds.
pub(super) fn unpack(row: &[u8], bits: u8, scale: u8, out: &mut [u8]) {
    let per_byte = usize::from(8 / bits);
    let mask = ((1u16 << bits) - 1) as u8;
    for (out, &byte) in out.chunks_mut(per_byte).zip(row) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = (byte >> (8 - usize::from(bits) * (i + 1)) & mask) * scale;
        }
    }
}
