//! 3x3 convolution in groups of 2 to 16 channels, a run of one output row at a time.
//!
//! As in `narrow.rs` a register holds several groups, if they fit. Here each input pixel is spread over the lanes
//! once for all three taps of its row: spreading competes with multiplying for the CPU's units.

use super::Isa;
use super::rows::{load, store};
use super::vector::Vector;
use crate::share::SharedMut;
use std::ops::Range;

/// Most pixels computed together, and the input pixels under them at stride 2.
const MOST: usize = 8;
const COLUMNS: usize = 2 * MOST + 1;
/// What a pixel in the padding reads.
static ZEROS: [f32; 16] = [0.0; 16];

/// One output row, for some registers of channels.
pub(crate) struct RowArgs {
    /// The input rows under the three rows of taps, at their first pixel; null in the padding.
    pub rows: [*const f32; 3],
    /// Pixels of an input row.
    pub width: usize,
    /// Where the first output pixel's first tap lies: negative in the padding.
    pub left: isize,
    pub pixels: usize,
    pub channels: usize,
    /// Registers of channels to compute.
    pub first: usize,
    pub end: usize,
    /// `[register of channels][tap][input channel of the group][lane]`
    pub weights: *const f32,
    /// `channels` rounded up to whole registers.
    pub bias: *const f32,
    /// The row's first pixel.
    pub out: *mut f32,
    /// Laid out like `out`, or null.
    pub residual: *const f32,
    pub relu: bool,
}

/// A kernel for one group size and stride.
pub(crate) type RowFn = unsafe fn(&RowArgs);

/// Groups of `G` channels in and out at stride `S`, 1 or 2.
///
/// # Safety
/// `V::LANES` is a multiple of `G` or `G` of `V::LANES`, `channels` of `G`; rows that are not null hold
/// `width` pixels of `channels` values, `out` (and the residual) `pixels`; the rest is as large as
/// [`RowArgs`] says.
#[inline(always)]
pub(crate) unsafe fn narrow_row<V: Vector, const G: usize, const S: usize>(a: &RowArgs) {
    // As many sums as fit the registers beside their inputs and the weights of three taps; at stride 2
    // the inputs are twice as many.
    let most = match (V::LANES, S) {
        (16, 1) => MOST,
        (16, _) => 5,
        (_, 1) => 6,
        _ => 4,
    };
    let tiles = a.pixels.div_ceil(most).max(1);
    let (size, larger) = (a.pixels / tiles, a.pixels % tiles);
    for register in a.first..a.end {
        let mut pixel = 0;
        for tile in 0..tiles {
            let count = size + usize::from(tile < larger);
            // SAFETY: the promises above, for these pixels of this register.
            unsafe {
                match count {
                    8 => row_tile::<V, G, S, 8>(a, register, pixel),
                    7 => row_tile::<V, G, S, 7>(a, register, pixel),
                    6 => row_tile::<V, G, S, 6>(a, register, pixel),
                    5 => row_tile::<V, G, S, 5>(a, register, pixel),
                    4 => row_tile::<V, G, S, 4>(a, register, pixel),
                    3 => row_tile::<V, G, S, 3>(a, register, pixel),
                    2 => row_tile::<V, G, S, 2>(a, register, pixel),
                    1 => row_tile::<V, G, S, 1>(a, register, pixel),
                    _ => {}
                }
            }
            pixel += count;
        }
    }
}

/// # Safety
/// As `narrow_row`, for the `M` pixels from `pixel` on.
#[inline(always)]
unsafe fn row_tile<V: Vector, const G: usize, const S: usize, const M: usize>(
    a: &RowArgs,
    register: usize,
    pixel: usize,
) {
    let c = register * V::LANES;
    let valid = V::LANES.min(a.channels - c);
    // Where the register's first group begins.
    let group = c / G * G;
    // SAFETY: `valid` values remain from channel c on; columns outside the row are not read.
    unsafe {
        let mut acc = [V::load(a.bias.add(c)); M];
        let left = a.left + (pixel * S) as isize;
        for (ky, row) in a.rows.iter().enumerate() {
            if row.is_null() {
                continue;
            }
            let mut columns = [ZEROS.as_ptr(); COLUMNS];
            let count = (M - 1) * S + 3;
            if left >= 0 && left as usize + count <= a.width {
                let first = row.add(left as usize * a.channels + group);
                for (j, column) in columns.iter_mut().enumerate().take(count) {
                    *column = first.add(j * a.channels);
                }
            } else {
                for (j, column) in columns.iter_mut().enumerate().take(count) {
                    let x = (left + j as isize) as usize; // negative ones wrap to huge ones
                    if x < a.width {
                        *column = row.add(x * a.channels + group);
                    }
                }
            }
            let weights = a.weights.add((c * 9) * G + ky * 3 * G * V::LANES);
            if G >= V::LANES {
                for i in 0..G {
                    let w = weights.add(i * V::LANES);
                    three_taps::<V, G, S, M>(&mut acc, w, |j| V::splat(*columns[j].add(i)));
                }
                continue;
            }
            let mut x = [V::splat(0.0); COLUMNS];
            for (x, column) in x.iter_mut().zip(columns).take(count) {
                *x = load(column, valid);
            }
            // Written out, because only a constant makes one instruction of a spread.
            channel::<V, G, S, M, 0>(&mut acc, &x, weights);
            channel::<V, G, S, M, 1>(&mut acc, &x, weights);
            channel::<V, G, S, M, 2>(&mut acc, &x, weights);
            channel::<V, G, S, M, 3>(&mut acc, &x, weights);
            channel::<V, G, S, M, 4>(&mut acc, &x, weights);
            channel::<V, G, S, M, 5>(&mut acc, &x, weights);
            channel::<V, G, S, M, 6>(&mut acc, &x, weights);
            channel::<V, G, S, M, 7>(&mut acc, &x, weights);
        }
        for (m, mut value) in acc.into_iter().enumerate() {
            let at = (pixel + m) * a.channels + c;
            if !a.residual.is_null() {
                value = value.add(load(a.residual.add(at), valid));
            }
            if a.relu {
                value = value.max(V::splat(0.0));
            }
            store(value, a.out.add(at), valid);
        }
    }
}

/// Input channel `I` of every group, if there is one, under the taps of a row.
///
/// # Safety
/// `weights` leads to those of the row's taps.
#[inline(always)]
unsafe fn channel<V, const G: usize, const S: usize, const M: usize, const I: usize>(
    acc: &mut [V; M],
    x: &[V; COLUMNS],
    weights: *const f32,
) where
    V: Vector,
{
    if I < G {
        // SAFETY: the caller's promise.
        unsafe {
            let w = weights.add(I * V::LANES);
            three_taps::<V, G, S, M>(acc, w, |j| x[j].spread::<G>(I));
        }
    }
}

/// Adds one channel, whose column `j` is `x(j)` in the lanes it goes to.
///
/// # Safety
/// `weights` leads to the channel's weights for the first of three taps.
#[inline(always)]
unsafe fn three_taps<V: Vector, const G: usize, const S: usize, const M: usize>(
    acc: &mut [V; M],
    weights: *const f32,
    x: impl Fn(usize) -> V,
) {
    // SAFETY: the caller's promise.
    let w: [V; 3] = std::array::from_fn(|kx| unsafe { V::load(weights.add(kx * G * V::LANES)) });
    // Column by column, so that few of them need a register at a time.
    for j in 0..(M - 1) * S + 3 {
        let x = x(j);
        for (kx, w) in w.iter().enumerate() {
            if j >= kx && (j - kx).is_multiple_of(S) && (j - kx) / S < M {
                let m = (j - kx) / S;
                acc[m] = x.mul_add(*w, acc[m]);
            }
        }
    }
}

/// One output row of a 3x3 convolution in narrow groups, safely.
pub(crate) struct NarrowRow<'a> {
    /// Channels of a group, in and out: 2, 4, 8 or 16.
    pub group: usize,
    /// 1 or 2.
    pub stride: usize,
    pub channels: usize,
    pub x: &'a [f32],
    /// Where in `x` the input rows under the three rows of taps begin; `None` in the padding.
    pub rows: [Option<usize>; 3],
    /// Pixels of an input row.
    pub width: usize,
    /// Where the first output pixel's first tap lies.
    pub left: isize,
    /// Pixels of the output row, and where in `out` it begins.
    pub pixels: usize,
    pub start: usize,
    /// Registers of channels to compute.
    pub registers: Range<usize>,
    /// `[register of channels][tap][input channel of the group][lane]`
    pub weights: &'a [f32],
    /// `channels`, rounded up to whole registers.
    pub bias: &'a [f32],
    /// Laid out like the output.
    pub residual: Option<&'a [f32]>,
    pub relu: bool,
}

impl NarrowRow<'_> {
    /// # Safety
    /// Nobody else may touch these channels of the row in `out` meanwhile.
    pub unsafe fn run(&self, isa: Isa, out: &SharedMut) {
        let kernels = isa.kernels();
        let (lanes, row_len) = (kernels.lanes, self.width * self.channels);
        let width = self.channels.next_multiple_of(lanes);
        assert!(
            (lanes.is_multiple_of(self.group) || self.group.is_multiple_of(lanes))
                && self.channels.is_multiple_of(self.group),
            "groups of {} channels",
            self.group
        );
        assert!(matches!(self.stride, 1 | 2), "stride {}", self.stride);
        assert!(
            self.rows
                .iter()
                .flatten()
                .all(|&row| row + row_len <= self.x.len()),
            "input too short"
        );
        assert!(self.registers.end * lanes <= width, "registers");
        assert_eq!(self.weights.len(), width * 9 * self.group, "narrow weights");
        assert_eq!(self.bias.len(), width, "bias");
        assert!(
            self.start + self.pixels * self.channels <= out.len(),
            "output too short"
        );
        assert!(
            self.residual.is_none_or(|r| r.len() == out.len()),
            "residual length"
        );
        let row = |row: Option<usize>| {
            row.map_or(std::ptr::null(), |at| self.x.as_ptr().wrapping_add(at))
        };
        let args = RowArgs {
            rows: self.rows.map(row),
            width: self.width,
            left: self.left,
            pixels: self.pixels,
            channels: self.channels,
            first: self.registers.start,
            end: self.registers.end,
            weights: self.weights.as_ptr(),
            bias: self.bias.as_ptr(),
            out: out.as_ptr().wrapping_add(self.start),
            residual: self
                .residual
                .map_or(std::ptr::null(), |r| r.as_ptr().wrapping_add(self.start)),
            relu: self.relu,
        };
        let kernel = kernels.narrow_row[self.group.trailing_zeros() as usize - 1][self.stride - 1];
        // SAFETY: every range is bounded above; the Isa proves the CPU has it.
        unsafe { kernel(&args) }
    }
}
