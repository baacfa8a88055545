//! Convolution in groups narrower than a register: several groups side by side in one.
//!
//! A panel of one group would leave most lanes empty (ResNeXt 32x4d: 12 of 16). Here a register holds
//! the same channels of input and output; each input channel of a group is spread over the lanes of
//! its group, so every lane multiplies.

use super::rows::{load, store};
use crate::arch::vector::Vector;
use crate::tuning::NARROW_PIXELS;

/// Some pixels of all channels.
pub(crate) struct NarrowArgs {
    pub x: *const f32,
    /// `[tap][offsets_stride]` element offsets of the pixels under each tap, negative in the padding.
    pub offsets: *const isize,
    pub offsets_stride: usize,
    pub taps: usize,
    pub pixels: usize,
    pub channels: usize,
    /// `[register of channels][tap][input channel of the group][lane]`
    pub weights: *const f32,
    /// `channels` rounded up to whole registers.
    pub bias: *const f32,
    pub out: *mut f32,
    /// Laid out like `out`, or null.
    pub residual: *const f32,
    pub relu: bool,
}

/// A kernel for one group size.
pub(crate) type NarrowFn = unsafe fn(&NarrowArgs);

/// Groups of `G` channels in and out.
///
/// # Safety
/// The CPU has the instruction set. `V::LANES` is a multiple of `G` and `channels` too; offsets that are not negative leave `channels`
/// readable values at `x`; the rest is as large as [`NarrowArgs`] says.
#[inline(always)]
pub(crate) unsafe fn narrow<V: Vector, const G: usize>(a: &NarrowArgs) {
    for register in 0..a.channels.div_ceil(V::LANES) {
        let mut pixel = 0;
        while pixel < a.pixels {
            // SAFETY: the promises above, for these pixels of this register.
            unsafe {
                if pixel + NARROW_PIXELS <= a.pixels {
                    tile::<V, G, NARROW_PIXELS>(a, register, pixel);
                    pixel += NARROW_PIXELS;
                } else {
                    tile::<V, G, 1>(a, register, pixel);
                    pixel += 1;
                }
            }
        }
    }
}

/// # Safety
/// As `narrow`, for the `M` pixels from `pixel` on.
#[inline(always)]
unsafe fn tile<V: Vector, const G: usize, const M: usize>(
    a: &NarrowArgs,
    register: usize,
    pixel: usize,
) {
    let c = register * V::LANES;
    let valid = V::LANES.min(a.channels - c);
    // SAFETY: `valid` values remain from channel c on.
    unsafe {
        let mut acc = [V::load(a.bias.add(c)); M];
        let mut weights = a.weights.add(c * a.taps * G);
        for tap in 0..a.taps {
            let offsets = a.offsets.add(tap * a.offsets_stride + pixel);
            let mut x = [V::splat(0.0); M];
            for (m, x) in x.iter_mut().enumerate() {
                let offset = *offsets.add(m);
                if offset >= 0 {
                    *x = load(a.x.offset(offset).add(c), valid);
                }
            }
            for i in 0..G {
                let w = V::load(weights);
                for m in 0..M {
                    acc[m] = x[m].spread::<G>(i).mul_add(w, acc[m]);
                }
                weights = weights.add(V::LANES);
            }
        }
        for (m, mut value) in acc.into_iter().enumerate() {
            let at = (pixel + m) * a.channels + c;
            if !a.residual.is_null() {
                value = value.add(load(a.residual.add(at), valid));
            }
            if a.relu {
                value = value.relu();
            }
            store(value, a.out.add(at), valid);
        }
    }
}
