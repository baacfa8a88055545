//! The loops with AVX2, equal to [`super::portable`] to the byte.

mod block;
mod colour;
mod rows;

use std::arch::x86_64::*;

use super::portable;

/// Samples that one step of a row takes.
const STEP: usize = 16;

/// Samples that one step takes where bytes are weighed in pairs.
const WIDE: usize = 32;

/// Pixels that one step of the colour conversion takes.
const PIXELS: usize = 32;

/// Proof that the CPU runs AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// The one place that asks the CPU.
    pub fn new() -> Option<Self> {
        std::is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// As [`portable::idct_islow`].
    pub fn idct_islow(
        &self,
        coefficients: &[i16; 64],
        quant: &[u16; 64],
        out: &mut [u8],
        stride: usize,
    ) {
        assert!(
            out.len() >= 8 && stride <= (out.len() - 8) / 7,
            "eight rows {stride} apart in {} samples",
            out.len()
        );
        // SAFETY: `self` proves AVX2; row 7 ends inside `out`.
        unsafe { block::block(coefficients, quant, out, stride) }
    }

    /// As [`portable::h2v1`].
    pub fn h2v1(&self, input: &[u8], output: &mut [u8]) {
        let output = &mut output[..2 * input.len()];
        if input.len() < STEP + 2 {
            return portable::h2v1(input, output);
        }
        // SAFETY: `self` proves AVX2; the rows have at least a step between the edges, and the output twice
        // their length.
        unsafe { rows::wider(input, output) }
    }

    /// As [`portable::h2v2`].
    pub fn h2v2(&self, near: &[u8], far: &[u8], output: &mut [u8]) {
        let (far, output) = (&far[..near.len()], &mut output[..2 * near.len()]);
        if near.len() < WIDE + 2 {
            return portable::h2v2(near, far, output);
        }
        // SAFETY: as for `h2v1`, with the longer step; both rows have the same length.
        unsafe { rows::wider_of_two(near, far, output) }
    }

    /// As [`portable::h1v2`].
    pub fn h1v2(&self, near: &[u8], far: &[u8], upper: bool, output: &mut [u8]) {
        let (far, output) = (&far[..near.len()], &mut output[..near.len()]);
        if near.len() < STEP {
            return portable::h1v2(near, far, upper, output);
        }
        // SAFETY: `self` proves AVX2; the three rows are of one length, at least a step.
        unsafe { rows::taller(near, far, upper, output) }
    }

    /// As [`portable::ycc_to_rgb`].
    pub fn ycc_to_rgb(&self, y: &[u8], cb: &[u8], cr: &[u8], rgb: &mut [u8]) {
        let n = y.len();
        let (cb, cr, rgb) = (&cb[..n], &cr[..n], &mut rgb[..3 * n]);
        if n < PIXELS {
            return portable::ycc_to_rgb(y, cb, cr, rgb);
        }
        // SAFETY: `self` proves AVX2; the planes are of one length, at least a step, and `rgb` holds three
        // bytes a pixel.
        unsafe { colour::rgb_row(y, cb, cr, rgb) }
    }

    /// As [`portable::ycck_to_cmyk`].
    pub fn ycck_to_cmyk(&self, y: &[u8], cb: &[u8], cr: &[u8], k: &[u8], cmyk: &mut [u8]) {
        let n = y.len();
        let (cb, cr, k, cmyk) = (&cb[..n], &cr[..n], &k[..n], &mut cmyk[..4 * n]);
        if n < PIXELS {
            return portable::ycck_to_cmyk(y, cb, cr, k, cmyk);
        }
        // SAFETY: as for `ycc_to_rgb`, with four bytes a pixel.
        unsafe { colour::cmyk_row(y, cb, cr, k, cmyk) }
    }
}

/// Where steps of `step` start so that they cover `n >= step`; the last two may overlap.
#[inline]
fn steps(n: usize, step: usize) -> impl Iterator<Item = usize> {
    (0..n.div_ceil(step)).map(move |i| (i * step).min(n - step))
}

/// # Safety
/// The CPU has AVX2; `source` has at least 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(source: &[u8]) -> __m256i {
    debug_assert!(source.len() >= 32);
    // SAFETY: the caller's.
    unsafe { _mm256_loadu_si256(source.as_ptr().cast()) }
}

/// Sixteen samples as words.
///
/// # Safety
/// The CPU has AVX2; `source` has at least 16 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_words(source: &[u8]) -> __m256i {
    debug_assert!(source.len() >= 16);
    // SAFETY: the caller's.
    _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(source.as_ptr().cast()) })
}

/// Both words of an i32 lane.
#[inline]
#[target_feature(enable = "avx2")]
fn words(low: i16, high: i16) -> __m256i {
    _mm256_set1_epi32(i32::from(low as u16) | i32::from(high) << 16)
}
