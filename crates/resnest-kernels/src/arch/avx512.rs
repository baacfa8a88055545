//! AVX-512F: sixteen lanes, masks in registers.

use super::vector::Vector;
use std::arch::x86_64::*;

/// Sixteen lanes in a zmm register.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x16(pub(super) __m512);

#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    ((1u32 << n.min(16)) - 1) as __mmask16
}

// SAFETY (for every intrinsic below): a value or the caller proves that the CPU has avx512f (see
// `super::vector::Vector`).
impl Vector for F32x16 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller grants the instruction set.
        F32x16(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller grants 16 readable values.
        F32x16(unsafe { _mm512_loadu_ps(p) })
    }

    #[inline(always)]
    unsafe fn load_halves(p: *const u32) -> [Self; 2] {
        // SAFETY: the caller grants 16 readable words.
        unsafe {
            let words = _mm512_loadu_si512(p.cast());
            let second = _mm512_and_si512(words, _mm512_set1_epi32(0xffff_0000_u32 as i32));
            [_mm512_slli_epi32::<16>(words), second].map(|half| F32x16(_mm512_castsi512_ps(half)))
        }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller grants 16 writable values.
        unsafe { _mm512_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: masked lanes are not read; the caller grants the first `n`.
        F32x16(unsafe { _mm512_maskz_loadu_ps(mask(n), p) })
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: masked lanes are not written; the caller grants the first `n`.
        unsafe { _mm512_mask_storeu_ps(p, mask(n), self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        F32x16(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see the impl.
        F32x16(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see the impl.
        F32x16(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // Where either operand is NaN, the instruction gives the second one: lanes of `self` that are
        // NaN are kept instead.
        // SAFETY: see the impl.
        F32x16(unsafe {
            let numbers = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(self.0, self.0);
            _mm512_mask_max_ps(self.0, numbers, self.0, other.0)
        })
    }

    #[inline(always)]
    fn relu(self) -> Self {
        // In this order: of a NaN and anything the instruction gives the second operand.
        // SAFETY: see the impl.
        F32x16(unsafe { _mm512_max_ps(_mm512_setzero_ps(), self.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: see the impl.
        F32x16(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
    }

    #[inline(always)]
    fn spread<const G: usize>(self, i: usize) -> Self {
        let at = std::array::from_fn::<i32, 16, _>(|lane| (lane / G * G + i) as i32);
        // SAFETY: see the impl; `at` holds 16 integers.
        F32x16(unsafe { _mm512_permutexvar_ps(_mm512_loadu_si512(at.as_ptr().cast()), self.0) })
    }

    #[inline(always)]
    fn prefetch(p: *const f32) {
        // SAFETY: a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
}

super::table::kernel_table!(F32x16, "avx512", [target_feature(enable = "avx512f")]);
