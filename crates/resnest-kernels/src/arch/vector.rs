//! The one vector type every kernel is written against.

/// A register of `LANES` f32 values of one instruction set.
///
/// A type implementing it is only ever named inside functions compiled with that instruction
/// set's target features, which the kernel tables of [`super::Kernels`] hand out; so its methods
/// need no check of their own. All of them must inline into such a function.
pub(crate) trait Vector: Copy {
    /// Values in a register.
    const LANES: usize;

    /// All lanes equal to `x`.
    fn splat(x: f32) -> Self;

    /// # Safety
    /// `p` must be valid for reading `LANES` values.
    unsafe fn load(p: *const f32) -> Self;

    /// # Safety
    /// `p` must be valid for writing `LANES` values.
    unsafe fn store(self, p: *mut f32);

    /// The first `n <= LANES` values, zeros after them.
    ///
    /// # Safety
    /// `p` must be valid for reading `n` values.
    unsafe fn load_first(p: *const f32, n: usize) -> Self;

    /// Writes the first `n <= LANES` lanes.
    ///
    /// # Safety
    /// `p` must be valid for writing `n` values.
    unsafe fn store_first(self, p: *mut f32, n: usize);

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;

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

    /// Asks for the cache line at `p`; any address is allowed.
    #[inline(always)]
    fn prefetch(_p: *const f32) {}
}
