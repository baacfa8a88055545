//! Products of words on AVX2: bf16 as f32, integers as 16-bit ones, exactly; and with AVX-VNNI's instruction.

use super::plain::{SplitBf16, round_bf16, round_int8, round_int16, store_each};
use super::table::dot_kernels;
use crate::arch::avx2::F32x8;
use crate::arch::dot::{Dot, Rounding, quantised};
use std::arch::x86_64::*;

/// A register of integers as f32, times its factors.
///
/// # Safety
/// The CPU has AVX2; `scale` is valid for reading 8 values.
#[inline(always)]
unsafe fn scaled(sum: __m256i, scale: *const f32) -> F32x8 {
    // SAFETY: the caller's promise.
    F32x8(unsafe { _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale)) })
}

/// What both kinds of integers share.
macro_rules! integers {
    ($dot:ident, $multiply:expr, $stored:ty) => {
        // SAFETY (for every intrinsic): the caller grants the instruction set and the memory (`Dot`).
        impl Dot for $dot {
            type V = F32x8;
            type Sum = __m256i;
            type Words = __m256i;
            const VALUES: usize = size_of::<u32>() / size_of::<$stored>();

            #[inline(always)]
            unsafe fn zero() -> __m256i {
                // SAFETY: see the impl.
                unsafe { _mm256_setzero_si256() }
            }

            #[inline(always)]
            unsafe fn start(p: *const u32) -> __m256i {
                // SAFETY: see the impl.
                unsafe { _mm256_loadu_si256(p.cast()) }
            }

            #[inline(always)]
            unsafe fn load(p: *const u32) -> __m256i {
                // SAFETY: see the impl.
                unsafe { _mm256_loadu_si256(p.cast()) }
            }

            #[inline(always)]
            unsafe fn spread(p: *const u32) -> __m256i {
                // SAFETY: see the impl.
                unsafe { _mm256_set1_epi32(p.read() as i32) }
            }

            #[inline(always)]
            unsafe fn dot(sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
                // SAFETY: see the impl.
                unsafe { $multiply(sum, x, w) }
            }

            #[inline(always)]
            unsafe fn to_f32(sum: __m256i, scale: *const f32) -> F32x8 {
                // SAFETY: see the impl.
                unsafe { scaled(sum, scale) }
            }

            #[inline(always)]
            unsafe fn store_rounded(values: F32x8, p: *mut u8, n: usize, rounding: Rounding) {
                let round = |x| <$stored>::from(quantised(x, rounding));
                // SAFETY: passed on to the caller.
                unsafe { store_each(values, p.cast(), n, round) }
            }
        }
    };
}

/// Two 16-bit integers by two: no product or sum of two can overflow.
#[derive(Clone, Copy)]
pub(crate) struct Int16;

integers!(
    Int16,
    |sum, x, w| _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)),
    u16
);

/// Four u8 by four i8 in one instruction, without saturation.
#[derive(Clone, Copy)]
pub(crate) struct Vnni;

integers!(Vnni, |sum, x, w| _mm256_dpbusd_avx_epi32(sum, x, w), u8);

dot_kernels!(
    bf16,
    bf16,
    "avx2",
    SplitBf16<F32x8>,
    16,
    round_bf16,
    [target_feature(enable = "avx2,fma")]
);
dot_kernels!(
    int16,
    integers,
    "avx2",
    Int16,
    16,
    round_int16,
    [target_feature(enable = "avx2,fma")]
);
dot_kernels!(
    vnni,
    integers,
    "avx-vnni",
    Vnni,
    16,
    round_int8,
    [target_feature(enable = "avx2,fma,avxvnni")]
);
