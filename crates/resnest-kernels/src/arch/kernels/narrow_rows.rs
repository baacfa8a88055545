//! 3x3 convolution in groups of 2 to 16 channels, a block of a cache line's channels and one output row
//! at a time.
//!
//! As in `narrow.rs` a register holds several groups, if they fit. Here each input pixel is spread over the lanes
//! once for all three taps of its row: spreading competes with multiplying for the CPU's units.
//!
//! The input is a packed block: its pixels lie side by side in a frame of zeros. In the map they are a pixel's
//! channels apart, a power of two as a rule, and the few sets of the L1 cache that such steps reach do not
//! hold what a row of taps needs.

use super::rows::{load, store};
use crate::arch::prefetch::{prefetch_far, prefetch_for_writing};
use crate::arch::vector::Vector;
use crate::tuning::{LINE, NARROW_ROW_PAIRED_PIXELS, NARROW_ROW_PIXELS};
use std::sync::atomic::{Ordering, compiler_fence};

/// One output row of a block.
pub(crate) struct RowArgs {
    /// `taps` rows of the packed block under the row, `[row][column][LINE]`.
    pub x: *const f32,
    /// Values from one packed row to the next.
    pub x_row: usize,
    /// Rows of taps that do not lie in the padding.
    pub taps: usize,
    pub pixels: usize,
    /// Channels of the block, at most [`LINE`].
    pub channels: usize,
    /// `[register of channels][tap][input channel of the group][lane]`, at the first row of taps.
    pub weights: *const f32,
    /// `channels` rounded up to whole registers.
    pub bias: *const f32,
    /// The block in the row's first pixel, and values from one pixel to the next.
    pub out: *mut f32,
    pub out_pixel: usize,
    /// Laid out like `out`, or null.
    pub residual: *const f32,
    pub relu: bool,
    /// Whether the row below comes next.
    pub more: bool,
    /// Rows of the map to fetch meanwhile, or null, and values from one of their pixels to the next.
    pub prefetch: [*const f32; 4],
    pub prefetch_pixel: usize,
}

/// A kernel for one group size and stride.
pub(crate) type RowFn = unsafe fn(&RowArgs);

/// Groups of `G` channels in and out at stride `S`, 1 or 2.
///
/// # Safety
/// The CPU has the instruction set. `V::LANES` is a multiple of `G` or `G` of `V::LANES`, `channels` of `G`; a packed row holds the
/// `(pixels - 1) * S + 3` columns under the row; the rest is as large as [`RowArgs`] says.
#[inline(always)]
pub(crate) unsafe fn narrow_row<V: Vector, const G: usize, const S: usize>(a: &RowArgs) {
    let most = if G == 2 * V::LANES {
        NARROW_ROW_PAIRED_PIXELS
    } else {
        NARROW_ROW_PIXELS
    };
    let tiles = a.pixels.div_ceil(most).max(1);
    let (size, larger) = (a.pixels / tiles, a.pixels % tiles);
    let mut pixel = 0;
    for tile in 0..tiles {
        let count = size + usize::from(tile < larger);
        for row in a.prefetch {
            if !row.is_null() {
                for column in pixel * S..(pixel + count) * S {
                    prefetch_far(row.wrapping_add(column * a.prefetch_pixel));
                }
            }
        }
        if a.more {
            for below in a.pixels + pixel..a.pixels + pixel + count {
                prefetch_for_writing(a.out.wrapping_add(below * a.out_pixel));
            }
        }
        if G == 2 * V::LANES {
            for c in (0..a.channels).step_by(G) {
                // SAFETY: the promises above, for these pixels of the group that begins at channel c.
                unsafe {
                    match count {
                        6 => pair_tile::<V, G, S, 6>(a, c, pixel),
                        5 => pair_tile::<V, G, S, 5>(a, c, pixel),
                        4 => pair_tile::<V, G, S, 4>(a, c, pixel),
                        3 => pair_tile::<V, G, S, 3>(a, c, pixel),
                        2 => pair_tile::<V, G, S, 2>(a, c, pixel),
                        1 => pair_tile::<V, G, S, 1>(a, c, pixel),
                        _ => {}
                    }
                }
            }
            pixel += count;
            continue;
        }
        for c in (0..a.channels).step_by(V::LANES) {
            // SAFETY: the promises above, for these pixels of this register.
            unsafe {
                match count {
                    10 => row_tile::<V, G, S, 10>(a, c, pixel),
                    9 => row_tile::<V, G, S, 9>(a, c, pixel),
                    8 => row_tile::<V, G, S, 8>(a, c, pixel),
                    7 => row_tile::<V, G, S, 7>(a, c, pixel),
                    6 => row_tile::<V, G, S, 6>(a, c, pixel),
                    5 => row_tile::<V, G, S, 5>(a, c, pixel),
                    4 => row_tile::<V, G, S, 4>(a, c, pixel),
                    3 => row_tile::<V, G, S, 3>(a, c, pixel),
                    2 => row_tile::<V, G, S, 2>(a, c, pixel),
                    1 => row_tile::<V, G, S, 1>(a, c, pixel),
                    _ => {}
                }
            }
        }
        pixel += count;
    }
}

/// # Safety
/// As `narrow_row`, for the `M` pixels from `pixel` on and the register of channel `c` of the block.
#[inline(always)]
unsafe fn row_tile<V: Vector, const G: usize, const S: usize, const M: usize>(
    a: &RowArgs,
    c: usize,
    pixel: usize,
) {
    let valid = V::LANES.min(a.channels - c);
    // SAFETY: `valid` values remain from channel c on; a packed pixel holds a whole line.
    unsafe {
        let mut acc = [V::load(a.bias.add(c)); M];
        // Where the register's first group begins.
        // (Without a row of taps it is out of bounds, and is not read.)
        let mut x = a.x.wrapping_add(pixel * S * LINE + c / G * G);
        let mut weights = a.weights.add(c * 9 * G);
        for _ in 0..a.taps {
            if G >= V::LANES {
                for i in 0..G {
                    let w = weights.add(i * V::LANES);
                    three_taps::<V, G, S, M>(&mut acc, w, |j| V::splat(*x.add(j * LINE + i)));
                }
            } else {
                // Written out, because only a constant makes one instruction of a spread.
                channel::<V, G, S, M, 0>(&mut acc, x, weights);
                channel::<V, G, S, M, 1>(&mut acc, x, weights);
                channel::<V, G, S, M, 2>(&mut acc, x, weights);
                channel::<V, G, S, M, 3>(&mut acc, x, weights);
                channel::<V, G, S, M, 4>(&mut acc, x, weights);
                channel::<V, G, S, M, 5>(&mut acc, x, weights);
                channel::<V, G, S, M, 6>(&mut acc, x, weights);
                channel::<V, G, S, M, 7>(&mut acc, x, weights);
            }
            x = x.wrapping_add(a.x_row);
            weights = weights.add(3 * G * V::LANES);
        }
        for (m, value) in acc.into_iter().enumerate() {
            epilogue(a, value, (pixel + m) * a.out_pixel + c, valid);
        }
    }
}

/// A group of two registers: each value of the input is multiplied with both.
///
/// # Safety
/// As `narrow_row`, for the `M` pixels from `pixel` on and the group that begins at channel c of the block.
#[inline(always)]
unsafe fn pair_tile<V: Vector, const G: usize, const S: usize, const M: usize>(
    a: &RowArgs,
    c: usize,
    pixel: usize,
) {
    let second = 9 * G * V::LANES;
    // SAFETY: the group's channels lie inside the block; a packed pixel holds a whole line.
    unsafe {
        let bias = a.bias.add(c);
        let mut acc = [[V::load(bias), V::load(bias.add(V::LANES))]; M];
        for row in 0..a.taps {
            for kx in 0..3 {
                let x = a.x.add(row * a.x_row + (pixel * S + kx) * LINE + c);
                let weights = a.weights.add(c * 9 * G + (row * 3 + kx) * G * V::LANES);
                for i in 0..G {
                    // Loads of later steps, made earlier, would take accumulators' registers.
                    compiler_fence(Ordering::SeqCst);
                    let w = weights.add(i * V::LANES);
                    let w = [V::load(w), V::load(w.add(second))];
                    for (m, acc) in acc.iter_mut().enumerate() {
                        let x = V::splat(*x.add(m * S * LINE + i));
                        *acc = [x.mul_add(w[0], acc[0]), x.mul_add(w[1], acc[1])];
                    }
                }
            }
        }
        for (m, values) in acc.into_iter().enumerate() {
            for (n, value) in values.into_iter().enumerate() {
                let at = (pixel + m) * a.out_pixel + c + n * V::LANES;
                epilogue(a, value, at, V::LANES);
            }
        }
    }
}

/// Adds the residual, applies ReLU and stores.
///
/// # Safety
/// `valid` values can be written at `at` of the output, and read there of a residual.
#[inline(always)]
unsafe fn epilogue<V: Vector>(a: &RowArgs, mut value: V, at: usize, valid: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if !a.residual.is_null() {
            value = value.add(load(a.residual.add(at), valid));
        }
        if a.relu {
            value = value.relu();
        }
        store(value, a.out.add(at), valid);
    }
}

/// Input channel `I` of every group, if there is one, under the taps of a row.
///
/// # Safety
/// The CPU has the instruction set; `weights` points to those of the row's taps, `x` to the packed columns under them.
#[inline(always)]
unsafe fn channel<V, const G: usize, const S: usize, const M: usize, const I: usize>(
    acc: &mut [V; M],
    x: *const f32,
    weights: *const f32,
) where
    V: Vector,
{
    if I < G {
        // SAFETY: the caller's promise.
        unsafe {
            let w = weights.add(I * V::LANES);
            three_taps::<V, G, S, M>(acc, w, |j| V::load(x.add(j * LINE)).spread::<G>(I));
        }
    }
}

/// Adds one channel, whose column `j` is `x(j)` in the lanes it goes to.
///
/// # Safety
/// The CPU has the instruction set; `weights` points to the channel's weights for the first of three taps.
#[inline(always)]
unsafe fn three_taps<V: Vector, const G: usize, const S: usize, const M: usize>(
    acc: &mut [V; M],
    weights: *const f32,
    x: impl Fn(usize) -> V,
) {
    // SAFETY: the caller's promise.
    let w: [V; 3] = std::array::from_fn(|kx| unsafe { V::load(weights.add(kx * G * V::LANES)) });
    for t in 0..M + 2 {
        for (kx, w) in w.iter().enumerate() {
            if t >= kx && t - kx < M {
                let m = t - kx;
                acc[m] = x(m * S + kx).mul_add(*w, acc[m]);
            }
        }
    }
}
