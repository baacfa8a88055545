//! Upsampling of rows.

use std::arch::x86_64::*;

use super::{STEP, WIDE, load, load_words, portable, steps};

/// `3 * v`.
#[target_feature(enable = "avx2")]
fn thrice(v: __m256i) -> __m256i {
    _mm256_add_epi16(v, _mm256_add_epi16(v, v))
}

/// Words whose values are bytes, as the even and the odd bytes of a row.
#[target_feature(enable = "avx2")]
fn interleaved(even: __m256i, odd: __m256i) -> __m256i {
    _mm256_or_si256(even, _mm256_slli_epi16::<8>(odd))
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
        let out = &mut output[2 * at + 2..][..2 * STEP];
        // SAFETY: 16 pairs are the 32 bytes of the store.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), interleaved(even, odd)) };
    }
    portable::h2v1_edges(input, output);
}

/// # Safety
/// The CPU has AVX2; both rows have the same length, at least `WIDE + 2`, and `output` twice that.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn wider_of_two(near: &[u8], far: &[u8], output: &mut [u8]) {
    let n = near.len();
    // In each pair of bytes a nearer sample and the farther one.
    let (once, thrice) = (_mm256_set1_epi16(0x0103), _mm256_set1_epi16(0x0309));
    for at in steps(n - 2, WIDE) {
        // Column sums of 32 samples from `x` on: samples 0 to 7 | 16 to 23, and 8 to 15 | 24 to 31.
        let sums = |x: usize, weights| {
            // SAFETY: `x <= at + 2`, and `at + 2 + WIDE <= n`.
            let (near, far) = unsafe { (load(&near[x..]), load(&far[x..])) };
            [
                _mm256_maddubs_epi16(_mm256_unpacklo_epi8(near, far), weights),
                _mm256_maddubs_epi16(_mm256_unpackhi_epi8(near, far), weights),
            ]
        };
        let (left, here, right) = (sums(at, once), sums(at + 1, thrice), sums(at + 2, once));
        let pairs: [__m256i; 2] = std::array::from_fn(|i| {
            let even = _mm256_add_epi16(_mm256_add_epi16(here[i], left[i]), _mm256_set1_epi16(8));
            let odd = _mm256_add_epi16(_mm256_add_epi16(here[i], right[i]), _mm256_set1_epi16(7));
            interleaved(_mm256_srli_epi16::<4>(even), _mm256_srli_epi16::<4>(odd))
        });
        let out = &mut output[2 * at + 2..][..2 * WIDE];
        let whole = [
            _mm256_permute2x128_si256::<0x20>(pairs[0], pairs[1]),
            _mm256_permute2x128_si256::<0x31>(pairs[0], pairs[1]),
        ];
        for (out, part) in out.chunks_exact_mut(32).zip(whole) {
            // SAFETY: a chunk is what the store writes.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), part) }
        }
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
