//! Products of words on any CPU: bf16 through f32 multiply-adds of any [`Vector`], integers one by one. What the
//! instructions for them are held to.

use super::table::dot_kernels;
use crate::arch::dot::{Bf16Dot, Dot, Rounding, bf16_bits, quantised};
use crate::arch::portable::F32x8;
use crate::arch::vector::Vector;

/// Two bf16 as two registers of f32: the values at even and at odd places.
#[derive(Clone, Copy)]
pub(crate) struct SplitBf16<V>(std::marker::PhantomData<V>);

impl<V: Vector> Dot for SplitBf16<V> {
    type V = V;
    type Sum = V;
    type Words = [V; 2];
    const VALUES: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> V {
        // SAFETY: passed on to the caller.
        unsafe { V::splat(0.0) }
    }

    #[inline(always)]
    unsafe fn start(p: *const u32) -> V {
        // SAFETY: passed on to the caller.
        unsafe { V::load(p.cast()) }
    }

    #[inline(always)]
    unsafe fn load(p: *const u32) -> [V; 2] {
        // SAFETY: passed on to the caller.
        unsafe { V::load_halves(p) }
    }

    #[inline(always)]
    unsafe fn spread(p: *const u32) -> [V; 2] {
        // SAFETY: passed on to the caller.
        unsafe {
            let word = p.read();
            [
                V::splat(f32::from_bits(word << 16)),
                V::splat(f32::from_bits(word & 0xffff_0000)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: V, x: [V; 2], w: [V; 2]) -> V {
        x[0].mul_add(w[0], x[1].mul_add(w[1], sum))
    }

    #[inline(always)]
    unsafe fn to_f32(sum: V, _scale: *const f32) -> V {
        sum
    }

    #[inline(always)]
    unsafe fn store_rounded(values: V, p: *mut u8, n: usize, _: Rounding) {
        // SAFETY: passed on to the caller.
        unsafe { store_each(values, p.cast::<u16>(), n, bf16_bits) }
    }
}

impl<V: Vector> Bf16Dot for SplitBf16<V> {}

/// Writes the first `n` lanes, each as `round` makes it.
///
/// # Safety
/// `p` is valid for writing `n` values.
#[inline(always)]
pub(super) unsafe fn store_each<V: Vector, T>(
    values: V,
    p: *mut T,
    n: usize,
    round: impl Fn(f32) -> T,
) {
    let mut lanes = [0.0; 16];
    debug_assert!(V::LANES <= 16);
    // SAFETY: 16 values hold a register; the caller grants `n` places.
    unsafe {
        values.store(lanes.as_mut_ptr());
        for (i, lane) in lanes.into_iter().enumerate().take(n) {
            p.add(i).write_unaligned(round(lane));
        }
    }
}

/// Four u8 by four i8.
#[derive(Clone, Copy)]
pub(crate) struct PlainInt8;

impl Dot for PlainInt8 {
    type V = F32x8;
    type Sum = [i32; 8];
    type Words = [u32; 8];
    const VALUES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> [i32; 8] {
        [0; 8]
    }

    #[inline(always)]
    unsafe fn start(p: *const u32) -> [i32; 8] {
        // SAFETY: the caller grants 8 readable words.
        unsafe { p.cast::<[i32; 8]>().read() }
    }

    #[inline(always)]
    unsafe fn load(p: *const u32) -> [u32; 8] {
        // SAFETY: the caller grants 8 readable words.
        unsafe { p.cast::<[u32; 8]>().read() }
    }

    #[inline(always)]
    unsafe fn spread(p: *const u32) -> [u32; 8] {
        // SAFETY: the caller grants a readable word.
        [unsafe { p.read() }; 8]
    }

    #[inline(always)]
    unsafe fn dot(mut sum: [i32; 8], x: [u32; 8], w: [u32; 8]) -> [i32; 8] {
        for ((sum, x), w) in sum.iter_mut().zip(x).zip(w) {
            for (x, w) in x.to_le_bytes().into_iter().zip(w.to_le_bytes()) {
                *sum += i32::from(x) * i32::from(w as i8);
            }
        }
        sum
    }

    #[inline(always)]
    unsafe fn to_f32(sum: [i32; 8], scale: *const f32) -> F32x8 {
        let sum = sum.map(|sum| sum as f32);
        // SAFETY: the caller grants 8 readable factors.
        unsafe { F32x8::load(sum.as_ptr()).mul(F32x8::load(scale)) }
    }

    #[inline(always)]
    unsafe fn store_rounded(values: F32x8, p: *mut u8, n: usize, rounding: Rounding) {
        // SAFETY: passed on to the caller.
        unsafe { store_each(values, p, n, |x| quantised(x, rounding)) }
    }
}

/// Rounds to pairs of bf16.
///
/// # Safety
/// `x` is valid for reading `values`, `words` for writing half as many, rounded up.
#[inline(always)]
pub(crate) unsafe fn round_bf16(x: *const f32, values: usize, words: *mut u32, _: Rounding) {
    // SAFETY: the caller's promise.
    unsafe {
        for i in 0..values / 2 {
            let [low, high] = [x.add(2 * i).read(), x.add(2 * i + 1).read()].map(bf16_bits);
            words.add(i).write(u32::from(low) | u32::from(high) << 16);
        }
        if values % 2 == 1 {
            let last = bf16_bits(x.add(values - 1).read());
            words.add(values / 2).write(u32::from(last));
        }
    }
}

/// Rounds to four 8-bit integers a word.
///
/// # Safety
/// `x` is valid for reading `values`, `words` for writing a quarter as many, rounded up.
#[inline(always)]
pub(crate) unsafe fn round_int8(x: *const f32, values: usize, words: *mut u32, rounding: Rounding) {
    for word in 0..values.div_ceil(4) {
        let mut bytes = [rounding.zero_point as u8; 4];
        for (i, byte) in bytes.iter_mut().enumerate().take(values - 4 * word) {
            // SAFETY: 4 · word + i is below `values`.
            *byte = quantised(unsafe { x.add(4 * word + i).read() }, rounding);
        }
        // SAFETY: the caller's promise.
        unsafe { words.add(word).write(u32::from_le_bytes(bytes)) }
    }
}

/// Rounds to 8-bit integers, two a word in 16 bits each.
///
/// # Safety
/// As for [`round_bf16`].
#[inline(always)]
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn round_int16(
    x: *const f32,
    values: usize,
    words: *mut u32,
    rounding: Rounding,
) {
    for word in 0..values.div_ceil(2) {
        let mut pair = [rounding.zero_point as u32; 2];
        for (i, half) in pair.iter_mut().enumerate().take(values - 2 * word) {
            // SAFETY: 2 · word + i is below `values`.
            *half = u32::from(quantised(unsafe { x.add(2 * word + i).read() }, rounding));
        }
        // SAFETY: the caller's promise.
        unsafe { words.add(word).write(pair[0] | pair[1] << 16) }
    }
}

dot_kernels!(bf16, bf16, "plain", SplitBf16<F32x8>, 16, round_bf16, []);
dot_kernels!(int8, integers, "plain", PlainInt8, 16, round_int8, []);

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::*;
    use crate::arch::neon::F32x8;
    dot_kernels!(bf16, bf16, "neon", SplitBf16<F32x8>, 32, round_bf16, []);
}
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::bf16 as neon_bf16;
