//! AVX2 + FMA: x86-64 from Haswell and Zen on.

use super::prefetch::prefetch_near;
use super::vector::Vector;
use std::arch::x86_64::*;

/// Eight lanes in a ymm register.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x8(pub(super) __m256);

/// Lanes below `n` set: a window into eight ones followed by eight zeros.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn mask(n: usize) -> __m256i {
    debug_assert!(n <= 8);
    // SAFETY: for n <= 8 the eight integers from 8 - n on lie inside the 16.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - n.min(8)).cast()) }
}

// SAFETY (for every intrinsic below): a value or the caller proves that the CPU has avx2 and fma (see
// `super::vector::Vector`).
impl Vector for F32x8 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller grants the instruction set.
        F32x8(unsafe { _mm256_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller grants 8 readable values.
        F32x8(unsafe { _mm256_loadu_ps(p) })
    }

    #[inline(always)]
    unsafe fn load_halves(p: *const u32) -> [Self; 2] {
        // SAFETY: the caller grants 8 readable words.
        unsafe {
            let words = _mm256_loadu_si256(p.cast());
            let second = _mm256_and_si256(words, _mm256_set1_epi32(0xffff_0000_u32 as i32));
            [_mm256_slli_epi32::<16>(words), second].map(|half| F32x8(_mm256_castsi256_ps(half)))
        }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller grants 8 writable values.
        unsafe { _mm256_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: masked lanes are not read; the caller grants the first `n`.
        F32x8(unsafe { _mm256_maskload_ps(p, mask(n)) })
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: masked lanes are not written; the caller grants the first `n`.
        unsafe { _mm256_maskstore_ps(p, mask(n), self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        F32x8(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see the impl.
        F32x8(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see the impl.
        F32x8(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // Where either operand is NaN, the instruction gives the second one: of the two orders one
        // gives the NaN. All bits of a NaN's exponent are ones, and any others leave it a NaN.
        // SAFETY: see the impl.
        F32x8(unsafe {
            _mm256_or_ps(
                _mm256_max_ps(self.0, other.0),
                _mm256_max_ps(other.0, self.0),
            )
        })
    }

    #[inline(always)]
    fn relu(self) -> Self {
        // In this order: of a NaN and anything the instruction gives the second operand.
        // SAFETY: see the impl.
        F32x8(unsafe { _mm256_max_ps(_mm256_setzero_ps(), self.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: see the impl.
        F32x8(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
    }

    #[inline(always)]
    fn spread<const G: usize>(self, i: usize) -> Self {
        let at = std::array::from_fn::<i32, 8, _>(|lane| (lane / G * G + i) as i32);
        // SAFETY: see the impl; `at` holds 8 integers.
        F32x8(unsafe { _mm256_permutevar8x32_ps(self.0, _mm256_loadu_si256(at.as_ptr().cast())) })
    }

    #[inline(always)]
    fn prefetch(p: *const f32) {
        prefetch_near(p);
    }
}

super::table::kernel_table!(F32x8, "avx2", [target_feature(enable = "avx2,fma")]);
