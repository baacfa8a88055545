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

/// Expands packed samples of 1, 2 or 4 bits, most significant first, rows padded to whole bytes.
pub(super) fn unpack(packed: &[u8], width: usize, bits: u8) -> Vec<u8> {
    let stride = (width * usize::from(bits)).div_ceil(8).max(1);
    let per_byte = usize::from(8 / bits);
    let mask = ((1u16 << bits) - 1) as u8;
    let sample = |row: &[u8], x: usize| {
        let shift = 8 - usize::from(bits) * (x % per_byte + 1);
        (row[x / per_byte] >> shift) & mask
    };
    let rows = packed.chunks_exact(stride);
    rows.flat_map(|row| (0..width).map(move |x| sample(row, x)))
        .collect()
}
