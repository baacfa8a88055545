//! Products of words on AVX-512: bf16 through f32 or AVX512_BF16's instruction, integers with AVX512_VNNI's.

use super::plain::{SplitBf16, round_bf16};
use super::table::dot_kernels;
use crate::arch::avx512::F32x16;
use crate::arch::dot::{Bf16Dot, Dot, Rounding};
use crate::arch::vector::Vector;
use std::arch::x86_64::*;

/// What both kinds of words share: registers of 512 bits.
macro_rules! registers {
    ($sum:ty, $values:literal, $zero:ident, $start:expr) => {
        type V = F32x16;
        type Sum = $sum;
        type Words = __m512i;
        const VALUES: usize = $values;

        #[inline(always)]
        unsafe fn zero() -> $sum {
            // SAFETY: see the impl.
            unsafe { $zero() }
        }

        #[inline(always)]
        unsafe fn start(p: *const u32) -> $sum {
            // SAFETY: see the impl.
            unsafe { $start(p.cast()) }
        }

        #[inline(always)]
        unsafe fn load(p: *const u32) -> __m512i {
            // SAFETY: see the impl.
            unsafe { _mm512_loadu_si512(p.cast()) }
        }

        #[inline(always)]
        unsafe fn spread(p: *const u32) -> __m512i {
            // SAFETY: see the impl.
            unsafe { _mm512_set1_epi32(p.read() as i32) }
        }
    };
}

/// Two bf16 by two, in one instruction.
#[derive(Clone, Copy)]
pub(crate) struct Bf16;

// SAFETY (for every intrinsic): the caller grants the instruction set and the memory (`Dot`).
impl Dot for Bf16 {
    registers!(__m512, 2, _mm512_setzero_ps, _mm512_loadu_ps);

    #[inline(always)]
    unsafe fn dot(sum: __m512, x: __m512i, w: __m512i) -> __m512 {
        // SAFETY: see the impl; both types are 512 bits of any value.
        unsafe {
            _mm512_dpbf16_ps(
                sum,
                std::mem::transmute::<__m512i, __m512bh>(x),
                std::mem::transmute::<__m512i, __m512bh>(w),
            )
        }
    }

    #[inline(always)]
    unsafe fn to_f32(sum: __m512, _scale: *const f32) -> F32x16 {
        F32x16(sum)
    }

    #[inline(always)]
    unsafe fn store_rounded(values: F32x16, p: *mut u8, n: usize, _: Rounding) {
        // SAFETY: the caller grants AVX512_BF16 and `n` writable places.
        unsafe {
            let rounded = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values.0));
            if n == F32x16::LANES {
                _mm256_storeu_si256(p.cast(), rounded);
            } else {
                let mut lanes = [0u16; 16];
                _mm256_storeu_si256(lanes.as_mut_ptr().cast(), rounded);
                p.copy_from_nonoverlapping(lanes.as_ptr().cast(), 2 * n);
            }
        }
    }
}

impl Bf16Dot for Bf16 {}

/// Four u8 by four i8, in one instruction, without saturation.
#[derive(Clone, Copy)]
pub(crate) struct Vnni;

// SAFETY (for every intrinsic): as above.
impl Dot for Vnni {
    registers!(__m512i, 4, _mm512_setzero_si512, _mm512_loadu_si512);

    #[inline(always)]
    unsafe fn dot(sum: __m512i, x: __m512i, w: __m512i) -> __m512i {
        // SAFETY: see the impl.
        unsafe { _mm512_dpbusd_epi32(sum, x, w) }
    }

    #[inline(always)]
    unsafe fn to_f32(sum: __m512i, scale: *const f32) -> F32x16 {
        // SAFETY: see the impl.
        F32x16(unsafe { _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(scale)) })
    }

    #[inline(always)]
    unsafe fn store_rounded(values: F32x16, p: *mut u8, n: usize, rounding: Rounding) {
        // SAFETY: the caller grants the instruction set and `n` writable places.
        unsafe {
            let bytes = quantise(values.0, rounding);
            if n == F32x16::LANES {
                _mm_storeu_si128(p.cast(), bytes);
            } else {
                let mut lanes = [0u8; 16];
                _mm_storeu_si128(lanes.as_mut_ptr().cast(), bytes);
                p.copy_from_nonoverlapping(lanes.as_ptr(), n);
            }
        }
    }

    #[inline(always)]
    unsafe fn store_row<const N: usize>(
        row: &[F32x16; N],
        p: *mut u8,
        cols: usize,
        rounding: Rounding,
    ) {
        const LANES: usize = F32x16::LANES;
        // SAFETY: see the impl; of what is stored at once all lanes are among the `cols`.
        unsafe {
            let mut first = 0;
            if N == 4 && cols == 4 * LANES {
                let bytes = quantise_four([row[0].0, row[1].0, row[2].0, row[3].0], rounding);
                _mm512_storeu_si512(p.cast(), bytes);
                first = 4;
            } else if N >= 2 && cols >= 2 * LANES {
                let bytes = quantise_two([row[0].0, row[1].0], rounding);
                _mm256_storeu_si256(p.cast(), bytes);
                first = 2;
            }
            for (n, values) in row.iter().enumerate().skip(first) {
                let at = n * LANES;
                Self::store_rounded(*values, p.add(at), LANES.min(cols - at), rounding);
            }
        }
    }
}

/// The first `n` of 16 lanes.
fn mask(n: usize) -> __mmask16 {
    ((1u32 << n.min(16)) - 1) as __mmask16
}

/// Rounds to pairs of bf16. Numbers too small for a normal bf16 become zero.
///
/// # Safety
/// The CPU has AVX512_BF16; `x` is valid for reading `values`, `words` for writing half as many, rounded up.
#[inline(always)]
unsafe fn round_to_bf16(x: *const f32, values: usize, words: *mut u32, _: Rounding) {
    let mut at = 0;
    // SAFETY: the caller's promise; masked lanes are not touched.
    unsafe {
        while at + 32 <= values {
            let (low, high) = (_mm512_loadu_ps(x.add(at)), _mm512_loadu_ps(x.add(at + 16)));
            let pairs = _mm512_cvtne2ps_pbh(high, low);
            let pairs = std::mem::transmute::<__m512bh, __m512i>(pairs);
            _mm512_storeu_si512(words.add(at / 2).cast(), pairs);
            at += 32;
        }
        if at < values {
            let left = values - at;
            let low = _mm512_maskz_loadu_ps(mask(left), x.add(at));
            let high =
                _mm512_maskz_loadu_ps(mask(left.saturating_sub(16)), x.wrapping_add(at + 16));
            let pairs = _mm512_cvtne2ps_pbh(high, low);
            let pairs = std::mem::transmute::<__m512bh, __m512i>(pairs);
            _mm512_mask_storeu_epi32(words.add(at / 2).cast(), mask(left.div_ceil(2)), pairs);
        }
    }
}

/// Sixteen values in steps. Of NaN and of what is less than -2^31 it makes the least integer, of more than 65536 that.
///
/// # Safety
/// The CPU has AVX-512F.
#[inline(always)]
unsafe fn steps(x: __m512, rounding: Rounding) -> __m512i {
    // SAFETY: the caller grants the instruction set.
    unsafe {
        let steps = _mm512_mul_ps(x, _mm512_set1_ps(rounding.inverse));
        // Of a NaN and anything this gives the second operand: NaN stays.
        _mm512_cvtps_epi32(_mm512_min_ps(_mm512_set1_ps(65536.0), steps))
    }
}

/// Sixteen values as [`quantised`](crate::arch::dot::quantised) gives them.
///
/// # Safety
/// The CPU has AVX-512F.
#[inline(always)]
unsafe fn quantise(x: __m512, rounding: Rounding) -> __m128i {
    // SAFETY: the caller grants the instruction set.
    unsafe {
        let zero_point = _mm512_set1_epi32(rounding.zero_point as i32);
        let q = _mm512_add_epi32(steps(x, rounding), zero_point);
        _mm512_cvtusepi32_epi8(_mm512_max_epi32(q, _mm512_setzero_si512()))
    }
}

/// Twice sixteen as 16-bit numbers, in which what is beyond 0 to 255 stays so. Each quarter has four of the first, then
/// four of the second.
///
/// # Safety
/// The CPU has AVX-512F and AVX-512BW.
#[inline(always)]
unsafe fn narrowed(a: __m512, b: __m512, rounding: Rounding) -> __m512i {
    // SAFETY: the caller grants the instruction set.
    unsafe {
        let both = _mm512_packs_epi32(steps(a, rounding), steps(b, rounding));
        _mm512_adds_epi16(both, _mm512_set1_epi16(rounding.zero_point as i16))
    }
}

/// Thirty-two values as [`quantise`] gives them.
///
/// # Safety
/// As for [`narrowed`].
#[inline(always)]
unsafe fn quantise_two([a, b]: [__m512; 2], rounding: Rounding) -> __m256i {
    // SAFETY: the caller grants the instruction set.
    unsafe {
        let both = narrowed(a, b, rounding);
        let bytes = _mm512_packus_epi16(both, both);
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13);
        _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, bytes))
    }
}

/// Sixty-four values as [`quantise`] gives them.
///
/// # Safety
/// As for [`narrowed`].
#[inline(always)]
unsafe fn quantise_four([a, b, c, d]: [__m512; 4], rounding: Rounding) -> __m512i {
    // SAFETY: the caller grants the instruction set.
    unsafe {
        let (front, back) = (narrowed(a, b, rounding), narrowed(c, d, rounding));
        let bytes = _mm512_packus_epi16(front, back);
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm512_permutexvar_epi32(order, bytes)
    }
}

/// Rounds to four 8-bit integers a word, as [`quantised`](crate::arch::dot::quantised).
///
/// # Safety
/// The CPU has AVX-512F and AVX-512BW; `x` is valid for reading `values`, `words` for writing a quarter as many, rounded up.
#[inline(always)]
unsafe fn round_to_int8(x: *const f32, values: usize, words: *mut u32, rounding: Rounding) {
    // SAFETY: the caller's promise; masked lanes are not touched.
    unsafe {
        let mut at = 0;
        while at + 64 <= values {
            let four = std::array::from_fn(|n| _mm512_loadu_ps(x.add(at + 16 * n)));
            _mm512_storeu_si512(words.add(at / 4).cast(), quantise_four(four, rounding));
            at += 64;
        }
        while at + 16 <= values {
            let q = quantise(_mm512_loadu_ps(x.add(at)), rounding);
            _mm_storeu_si128(words.add(at / 4).cast(), q);
            at += 16;
        }
        if at < values {
            // Zeros, where nothing is read, become the zero point.
            let x = _mm512_maskz_loadu_ps(mask(values - at), x.add(at));
            let q = quantise(x, rounding);
            let mut last = [0; 4];
            _mm_storeu_si128(last.as_mut_ptr().cast(), q);
            for (i, word) in last.into_iter().enumerate().take((values - at).div_ceil(4)) {
                words.add(at / 4 + i).write(word);
            }
        }
    }
}

dot_kernels!(
    split_bf16,
    bf16,
    "avx512",
    SplitBf16<F32x16>,
    32,
    round_bf16,
    [target_feature(enable = "avx512f")]
);
dot_kernels!(
    bf16,
    bf16,
    "avx512-bf16",
    Bf16,
    32,
    round_to_bf16,
    [target_feature(enable = "avx512f,avx512bf16")]
);
dot_kernels!(
    vnni,
    integers,
    "avx512-vnni",
    Vnni,
    32,
    round_to_int8,
    [target_feature(enable = "avx512f,avx512bw,avx512vnni")]
);
