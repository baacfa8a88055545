//! Kernels over rows of channels: pools, depthwise convolution, weighted sums.

use crate::arch::vector::Vector;

/// What `reduce` does with the pixels under a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduce {
    /// The largest; NaN if any is.
    Max,
    /// Their sum, scaled.
    Sum,
    /// Their sum, each weighted channel by channel.
    Dot,
}

/// One output pixel of a window operation.
pub(crate) struct ReduceArgs {
    pub x: *const f32,
    /// `taps` element offsets, none negative; at least one unless the reduction is a sum.
    pub offsets: *const isize,
    pub taps: usize,
    pub channels: usize,
    pub out: *mut f32,
    /// `Sum`: factor of the sum.
    pub scale: f32,
    /// `Dot`: `[tap][channels]`, and which row of it goes with each offset.
    pub weights: *const f32,
    pub rows: *const usize,
    /// `Dot`: `channels` values, or null.
    pub bias: *const f32,
}

/// `out[p][c] = Σ_r weights[r][c] · x[p][r][c]` for a run of pixels.
pub(crate) struct WeightedArgs {
    pub x: *const f32,
    pub weights: *const f32,
    pub out: *mut f32,
    pub pixels: usize,
    pub channels: usize,
    pub radix: usize,
}

/// `out[c]` gets the sum or largest (NaN if any is) of `x[p][c]` over a run of pixels and of what it held.
pub(crate) struct ColumnArgs {
    pub x: *const f32,
    pub pixels: usize,
    /// From one pixel to the next in `x`.
    pub stride: usize,
    pub channels: usize,
    pub out: *mut f32,
}

/// `x[p][c] = x[p][c] · gates[c] + residual[p][c]`, then ReLU, for a run of pixels, in place.
pub(crate) struct GateArgs {
    pub x: *mut f32,
    pub gates: *const f32,
    /// Laid out like `x`, or null.
    pub residual: *const f32,
    pub relu: bool,
    pub pixels: usize,
    pub channels: usize,
}

pub(crate) type ReduceFn = unsafe fn(&ReduceArgs);
pub(crate) type WeightedFn = unsafe fn(&WeightedArgs);
pub(crate) type ColumnFn = unsafe fn(&ColumnArgs);
pub(crate) type GateFn = unsafe fn(&GateArgs);

/// The operations of `reduce`, as types: one instance of the loop each.
pub(crate) trait Reduction {
    const KIND: Reduce;
}
pub(crate) struct Max;
pub(crate) struct Sum;
pub(crate) struct Dot;
impl Reduction for Max {
    const KIND: Reduce = Reduce::Max;
}
impl Reduction for Sum {
    const KIND: Reduce = Reduce::Sum;
}
impl Reduction for Dot {
    const KIND: Reduce = Reduce::Dot;
}

/// # Safety
/// The CPU has the instruction set; `p` is valid for reading `valid` values.
#[inline(always)]
pub(super) unsafe fn load<V: Vector>(p: *const f32, valid: usize) -> V {
    // SAFETY: the caller grants `valid` readable values, or a whole register.
    unsafe {
        if valid == V::LANES {
            V::load(p)
        } else {
            V::load_first(p, valid)
        }
    }
}

/// # Safety
/// `p` is valid for writing `valid` values.
#[inline(always)]
pub(super) unsafe fn store<V: Vector>(v: V, p: *mut f32, valid: usize) {
    // SAFETY: the caller grants `valid` writable values, or a whole register.
    unsafe {
        if valid == V::LANES {
            v.store(p);
        } else {
            v.store_first(p, valid);
        }
    }
}

/// # Safety
/// The CPU has the instruction set. Every pointer is valid for `channels` values at what [`ReduceArgs`] says it holds.
#[inline(always)]
pub(crate) unsafe fn reduce<V: Vector, R: Reduction>(a: &ReduceArgs) {
    let mut c = 0;
    while c < a.channels {
        let valid = V::LANES.min(a.channels - c);
        // SAFETY: `valid` values remain from channel c on.
        unsafe {
            let mut acc = V::splat(match R::KIND {
                Reduce::Max => f32::NEG_INFINITY,
                Reduce::Sum | Reduce::Dot => 0.0,
            });
            for tap in 0..a.taps {
                let x = load::<V>(a.x.offset(*a.offsets.add(tap)).add(c), valid);
                acc = match R::KIND {
                    Reduce::Max => acc.max(x),
                    Reduce::Sum => acc.add(x),
                    Reduce::Dot => {
                        let row = *a.rows.add(tap) * a.channels;
                        x.mul_add(load::<V>(a.weights.add(row + c), valid), acc)
                    }
                };
            }
            match R::KIND {
                Reduce::Max => {}
                Reduce::Sum => acc = acc.mul(V::splat(a.scale)),
                Reduce::Dot if a.bias.is_null() => {}
                Reduce::Dot => acc = acc.add(load::<V>(a.bias.add(c), valid)),
            }
            store(acc, a.out.add(c), valid);
        }
        c += V::LANES;
    }
}

/// # Safety
/// The CPU has the instruction set. x holds `pixels * radix * channels` values, weights `radix * channels`, out `pixels * channels`.
#[inline(always)]
pub(crate) unsafe fn weighted<V: Vector>(a: &WeightedArgs) {
    for pixel in 0..a.pixels {
        let x = a.x.wrapping_add(pixel * a.radix * a.channels);
        let out = a.out.wrapping_add(pixel * a.channels);
        let mut c = 0;
        while c < a.channels {
            let valid = V::LANES.min(a.channels - c);
            // SAFETY: `valid` values remain from channel c on in each of the radix rows.
            unsafe {
                let mut acc = V::splat(0.0);
                for split in 0..a.radix {
                    let at = split * a.channels + c;
                    let weight = load::<V>(a.weights.add(at), valid);
                    acc = load::<V>(x.add(at), valid).mul_add(weight, acc);
                }
                store(acc, out.add(c), valid);
            }
            c += V::LANES;
        }
    }
}

/// # Safety
/// The CPU has the instruction set. x holds `channels` values for each of `pixels`, `stride` apart, out `channels`.
#[inline(always)]
pub(crate) unsafe fn columns<V: Vector, R: Reduction>(a: &ColumnArgs) {
    let mut c = 0;
    while c < a.channels {
        let valid = V::LANES.min(a.channels - c);
        // SAFETY: `valid` values remain from channel c on in each row.
        unsafe {
            let mut acc = load::<V>(a.out.add(c), valid);
            for pixel in 0..a.pixels {
                let x = load::<V>(a.x.add(pixel * a.stride + c), valid);
                acc = match R::KIND {
                    Reduce::Max => acc.max(x),
                    Reduce::Sum | Reduce::Dot => acc.add(x),
                };
            }
            store(acc, a.out.add(c), valid);
        }
        c += V::LANES;
    }
}

/// # Safety
/// The CPU has the instruction set. x (and the residual) hold `pixels * channels` values, gates `channels`.
#[inline(always)]
pub(crate) unsafe fn gate<V: Vector>(a: &GateArgs) {
    for pixel in 0..a.pixels {
        let row = pixel * a.channels;
        let mut c = 0;
        while c < a.channels {
            let valid = V::LANES.min(a.channels - c);
            // SAFETY: `valid` values remain from channel c on.
            unsafe {
                let x = a.x.add(row + c);
                let rest = match a.residual.is_null() {
                    true => V::splat(0.0),
                    false => load::<V>(a.residual.add(row + c), valid),
                };
                let gates = load::<V>(a.gates.add(c), valid);
                let mut value = load::<V>(x, valid).mul_add(gates, rest);
                if a.relu {
                    value = value.relu();
                }
                store(value, x, valid);
            }
            c += V::LANES;
        }
    }
}
