//! Plain Rust arrays in place of registers: correct everywhere, and what Miri runs.

use super::vector::{Vector, relu};

/// Eight lanes as an array; the compiler vectorises it as far as the target's baseline goes.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x8([f32; 8]);

impl F32x8 {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        F32x8(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Vector for F32x8 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        F32x8([x; 8])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller grants 8 readable values; arrays of f32 need f32's alignment only.
        F32x8(unsafe { p.cast::<[f32; 8]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller grants 8 writable values.
        unsafe { p.cast::<[f32; 8]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        let mut lanes = [0.0; 8];
        for (i, lane) in lanes.iter_mut().enumerate().take(n) {
            // SAFETY: the caller grants `n` readable values and i < n.
            *lane = unsafe { p.add(i).read() };
        }
        F32x8(lanes)
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        for (i, lane) in self.0.iter().enumerate().take(n) {
            // SAFETY: the caller grants `n` writable values and i < n.
            unsafe { p.add(i).write(*lane) }
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b || a.is_nan() { a } else { b })
    }

    #[inline(always)]
    fn relu(self) -> Self {
        F32x8(std::array::from_fn(|i| relu(self.0[i])))
    }

    // Not f32::mul_add: without hardware FMA that is a library call per lane.
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self.mul(factor).add(addend)
    }
}

super::table::kernel_table!(F32x8, "portable", []);
