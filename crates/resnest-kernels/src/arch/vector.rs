//! The one vector type every kernel is written against.

/// A register of `LANES` f32 values of one instruction set.
///
/// A value proves that the CPU has the instruction set: the functions that make one without another (`splat`,
/// `load`, `load_first`) are unsafe and demand it, and so methods on a value need not. The type is only named in kernels, which the tables of [`Kernels`](super::table::Kernels) hand out compiled
/// with the set's target features; all methods must inline into them.
pub(crate) trait Vector: Copy {
    /// Values in a register.
    const LANES: usize;

    /// All lanes equal to `x`.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn splat(x: f32) -> Self;

    /// The same where there is a value already.
    #[inline(always)]
    fn all(self, x: f32) -> Self {
        // SAFETY: `self` proves that the CPU has the instruction set.
        unsafe { Self::splat(x) }
    }

    /// # Safety
    /// The CPU has the instruction set; `p` must be valid for reading `LANES` values.
    unsafe fn load(p: *const f32) -> Self;

    /// Of `LANES` pairs of bf16 the first ones and the second ones.
    ///
    /// # Safety
    /// The CPU has the instruction set; `p` must be valid for reading `LANES` words.
    #[inline(always)]
    unsafe fn load_halves(p: *const u32) -> [Self; 2] {
        let [mut first, mut second] = [[0.0; 16]; 2];
        debug_assert!(Self::LANES <= 16);
        let lanes = first.iter_mut().zip(&mut second).take(Self::LANES);
        for (i, (first, second)) in lanes.enumerate() {
            // SAFETY: the caller's promise.
            let word = unsafe { p.add(i).read() };
            *first = f32::from_bits(word << 16);
            *second = f32::from_bits(word & 0xffff_0000);
        }
        // SAFETY: 16 values hold a register; the caller grants the instruction set.
        [first, second].map(|half| unsafe { Self::load(half.as_ptr()) })
    }

    /// # Safety
    /// `p` must be valid for writing `LANES` values.
    unsafe fn store(self, p: *mut f32);

    /// The first `n <= LANES` values, zeros after them.
    ///
    /// # Safety
    /// The CPU has the instruction set; `p` must be valid for reading `n` values.
    unsafe fn load_first(p: *const f32, n: usize) -> Self;

    /// Writes the first `n <= LANES` lanes.
    ///
    /// # Safety
    /// `p` must be valid for writing `n` values.
    unsafe fn store_first(self, p: *mut f32, n: usize);

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;

    /// The larger of the two, lane by lane; NaN where either is NaN, as `torch.maximum` has it.
    fn max(self, other: Self) -> Self;

    /// `max(x, 0)`, lane by lane; NaN stays NaN, as in `torch.relu`.
    ///
    /// One instruction where [`max`](Self::max) may take three: the other operand is never NaN.
    fn relu(self) -> Self;

    /// `self * factor + addend`, in one rounding where the instruction set can.
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// In groups of `G` neighbouring lanes, lane `i` of its group to each; `G` divides `LANES`.
    #[inline(always)]
    fn spread<const G: usize>(self, i: usize) -> Self {
        let mut lanes = [0.0; 16];
        debug_assert!(Self::LANES <= 16 && Self::LANES.is_multiple_of(G) && i < G);
        // SAFETY: 16 values hold a register.
        unsafe {
            self.store(lanes.as_mut_ptr());
            let spread: [f32; 16] = std::array::from_fn(|lane| lanes[lane / G * G + i]);
            Self::load(spread.as_ptr())
        }
    }

    /// Prefetches the cache line at `p`; any address is allowed.
    #[inline(always)]
    fn prefetch(_p: *const f32) {}
}

/// `max(x, 0)` of a single value; NaN stays NaN, which `f32::max` would drop.
#[inline(always)]
pub(crate) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}
