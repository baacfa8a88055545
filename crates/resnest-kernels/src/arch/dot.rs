//! What low-precision kernels are written against: products of words, each some values of k side by side.
//!
//! A word has 32 bits: two bf16, or four 8-bit integers (two 16-bit ones where a CPU multiplies no shorter ones without
//! saturating). Rows of activations and of weights are rows of words, so that one micro-kernel does for all of them.

use super::vector::Vector;

/// In what the factors of a product are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Element {
    /// The upper half of an f32, rounded to the nearest even.
    Bf16,
    /// Activations of 0 to 255 by weights of -127 to 127.
    Int8,
}

/// Products of words, for registers of one instruction set.
pub(crate) trait Dot: Copy {
    /// A register of sums once they are f32.
    type V: Vector;
    /// A register of sums.
    type Sum: Copy;
    /// Words of a pixel or of weights.
    type Words: Copy;
    /// Values of a word.
    const VALUES: usize;

    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn zero() -> Self::Sum;

    /// Sums that start from what is at `p`: i32 of integers, f32 of bf16.
    ///
    /// # Safety
    /// The CPU has the instruction set; `p` is valid for reading `V::LANES` words.
    unsafe fn start(p: *const u32) -> Self::Sum;

    /// A word of weights for each lane.
    ///
    /// # Safety
    /// As for `start`.
    unsafe fn load(p: *const u32) -> Self::Words;

    /// A pixel's word in every lane.
    ///
    /// # Safety
    /// The CPU has the instruction set; `p` is valid for reading a word.
    unsafe fn spread(p: *const u32) -> Self::Words;

    /// Adds the products of `x`'s values with `w`'s.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn dot(sum: Self::Sum, x: Self::Words, w: Self::Words) -> Self::Sum;

    /// The sums as f32; `scale` is a factor for each lane of integers, and not looked at for bf16.
    ///
    /// # Safety
    /// The CPU has the instruction set; `scale` is valid for reading `V::LANES` values if sums are integers.
    unsafe fn to_f32(sum: Self::Sum, scale: *const f32) -> Self::V;

    /// Writes the first `n` of some values as [`RoundFn`] rounds them.
    ///
    /// # Safety
    /// The CPU has the instruction set; `p` is valid for writing `n` values of a word's parts.
    unsafe fn store_rounded(values: Self::V, p: *mut u8, n: usize, rounding: Rounding);

    /// Writes the first `cols` of a row's values as [`RoundFn`] rounds them: all registers but the last are full.
    ///
    /// # Safety
    /// The CPU has the instruction set; `p` is valid for writing `cols` values of a word's parts.
    #[inline(always)]
    unsafe fn store_row<const N: usize>(
        row: &[Self::V; N],
        p: *mut u8,
        cols: usize,
        rounding: Rounding,
    ) {
        let size = size_of::<u32>() / Self::VALUES;
        for (n, values) in row.iter().enumerate() {
            let first = n * Self::V::LANES;
            let count = Self::V::LANES.min(cols - first);
            // SAFETY: registers before the last are full, the last writes what is left of `cols`.
            unsafe { Self::store_rounded(*values, p.add(first * size), count, rounding) };
        }
    }
}

/// Products of bf16.
pub(crate) trait Bf16Dot: Dot {}

/// What a row of f32 is rounded with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rounding {
    /// `1 / scale` of integers.
    pub inverse: f32,
    pub zero_point: f32,
}

/// Rounds some f32 to words, the last one filled up with zeros of the given rounding.
pub(crate) type RoundFn = unsafe fn(x: *const f32, values: usize, words: *mut u32, Rounding);

/// The bits of the bf16 nearest to `x`, ties to even; NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        // Quiet, or a payload in the lower half would make it infinite.
        return ((bits >> 16) | 0x40) as u16;
    }
    let odd = (bits >> 16) & 1;
    (bits.wrapping_add(0x7fff + odd) >> 16) as u16
}

/// `round(x · inverse) + zero_point`, to the nearest even, between 0 and 255.
#[inline(always)]
pub(crate) fn quantised(x: f32, rounding: Rounding) -> u8 {
    // Bounds first, as the instructions for integers know no larger numbers than 2^31.
    let steps = (x * rounding.inverse).clamp(-65536.0, 65536.0);
    (steps.round_ties_even() + rounding.zero_point).clamp(0.0, 255.0) as u8
}
