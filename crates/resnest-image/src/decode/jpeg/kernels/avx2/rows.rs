//! Upsampling of rows.

use std::arch::x86_64::*;

use super::{STEP, load_words, portable, steps};

/// `3 * v`.
#[target_feature(enable = "avx2")]
fn thrice(v: __m256i) -> __m256i {
    _mm256_add_epi16(v, _mm256_add_epi16(v, v))
}

/// Stores words whose values are bytes as the even and the odd bytes of a row.
///
/// # Safety
/// The CPU has AVX2, and `output` has at least 32 bytes.
#[target_feature(enable = "avx2")]
unsafe fn store_interleaved(even: __m256i, odd: __m256i, output: &mut [u8]) {
    debug_assert!(output.len() >= 32);
    let both = _mm256_or_si256(even, _mm256_slli_epi16::<8>(odd));
    // SAFETY: the caller's.
    unsafe { _mm256_storeu_si256(output.as_mut_ptr().cast(), both) }
}

/// # Safety
/// The CPU has AVX2; `input` has at least `STEP + 2` samples and `output` twice as many.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn wider(input: &[u8], output: &mut [u8]) {
    let n = input.len();
    for at in steps(n - 2, STEP) {
        // SAFETY: the samples `at..at + STEP + 2` exist, the steps covering all but the two at the edges.
        let (left, here, right) = unsafe {
            (
                load_words(&input[at..]),
                load_words(&input[at + 1..]),
                load_words(&input[at + 2..]),
            )
        };
        let here = thrice(here);
        let even = _mm256_add_epi16(_mm256_add_epi16(here, left), _mm256_set1_epi16(1));
        let odd = _mm256_add_epi16(_mm256_add_epi16(here, right), _mm256_set1_epi16(2));
        let (even, odd) = (_mm256_srli_epi16::<2>(even), _mm256_srli_epi16::<2>(odd));
        // SAFETY: `2 * (at + 1) + 32 <= 2 * (n - 1)`.
        unsafe { store_interleaved(even, odd, &mut output[2 * at + 2..]) };
    }
    portable::h2v1_edges(input, output);
}

/// # Safety
/// As [`wider`]; `far` has as many samples as `near`.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn wider_of_two(near: &[u8], far: &[u8], output: &mut [u8]) {
    let n = near.len();
    for at in steps(n - 2, STEP) {
        let sums = |x: usize| {
            // SAFETY: `x <= at + 2`, and `at + 2 + STEP <= n`.
            let (near, far) = unsafe { (load_words(&near[x..]), load_words(&far[x..])) };
            _mm256_add_epi16(thrice(near), far)
        };
        let (left, here, right) = (sums(at), thrice(sums(at + 1)), sums(at + 2));
        let even = _mm256_add_epi16(_mm256_add_epi16(here, left), _mm256_set1_epi16(8));
        let odd = _mm256_add_epi16(_mm256_add_epi16(here, right), _mm256_set1_epi16(7));
        let (even, odd) = (_mm256_srli_epi16::<4>(even), _mm256_srli_epi16::<4>(odd));
        // SAFETY: `2 * (at + 1) + 32 <= 2 * (n - 1)`.
        unsafe { store_interleaved(even, odd, &mut output[2 * at + 2..]) };
    }
    portable::h2v2_edges(near, far, output);
}

/// # Safety
/// The CPU has AVX2, and the three rows have the same length, at least `STEP`.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn taller(near: &[u8], far: &[u8], upper: bool, output: &mut [u8]) {
    let bias = _mm256_set1_epi16(if upper { 1 } else { 2 });
    for at in steps(near.len(), STEP) {
        // SAFETY: `at + STEP` is at most the length of each row.
        let (near, far) = unsafe { (load_words(&near[at..]), load_words(&far[at..])) };
        let sum = _mm256_add_epi16(_mm256_add_epi16(thrice(near), far), bias);
        let words = _mm256_srli_epi16::<2>(sum);
        let bytes = _mm_packus_epi16(
            _mm256_castsi256_si128(words),
            _mm256_extracti128_si256::<1>(words),
        );
        // SAFETY: as above.
        unsafe { _mm_storeu_si128(output[at..].as_mut_ptr().cast(), bytes) }
    }
}
