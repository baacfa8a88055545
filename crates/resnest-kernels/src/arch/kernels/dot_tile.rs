//! The micro-kernel of words: M pixels times N registers of output channels, all taps, all of k.

use super::tile::{load_row, store_row};
use crate::arch::dot::{Dot, Rounding};
use crate::arch::prefetch::{prefetch_for_writing, prefetch_near};
use crate::arch::vector::Vector;
use crate::tuning::{LINE, UNROLL};
use std::sync::atomic::{Ordering, compiler_fence};

/// Everything one call of the micro-kernel reads and writes.
///
/// `checked/dot_tile.rs` keeps the promises: each `offsets` entry is negative (a pixel in the padding) or leaves `k`
/// readable words at `x`; `w` holds `taps * k` rows of the panel's width; `out` and `residual` have `tiles * M` rows of
/// `cols` values, `row_stride` apart.
pub(crate) struct DotTileArgs {
    /// Tiles to compute, one after the other in `offsets`, `out` and `residual`.
    pub tiles: usize,
    pub x: *const u32,
    /// `[tap][offsets_stride]` offsets, in words, of the pixels under each tap.
    pub offsets: *const isize,
    pub offsets_stride: usize,
    pub taps: usize,
    /// Words of a pixel that are multiplied.
    pub k: usize,
    /// What a pixel in the padding reads: `k` words.
    pub padding: *const u32,
    /// `[tap][k][width]`
    pub w: *const u32,
    /// Values, or of the kernels that round words.
    pub out: *mut f32,
    /// From one pixel to the next in `out` and `residual`, in values or words.
    pub row_stride: usize,
    /// What is stored as words is rounded with this, as the inputs are.
    pub rounding: Rounding,
    /// Valid columns of the panel: all but the last register are full.
    pub cols: usize,
    /// A panel's width of what integer sums start from, or null for zero.
    pub start: *const u32,
    /// A panel's width of factors of integer sums.
    pub scale: *const f32,
    /// A whole panel's width of values, or null for none.
    pub bias: *const f32,
    /// Laid out like `out`, or null for none.
    pub residual: *const f32,
    pub relu: bool,
    /// `out` and `residual` are larger than the caches: whole rows are fetched ahead.
    pub far: bool,
    /// A whole panel's width of running sums, or null for none.
    pub sums: *mut f32,
    /// Weights that will be wanted next, and how many of their words to fetch for each step of each tap.
    pub prefetch: *const u32,
    pub prefetch_step: usize,
}

/// A micro-kernel of one instruction set and size.
pub(crate) type DotTileFn = unsafe fn(&DotTileArgs);

/// Most pixels of a tile.
pub(crate) const MOST_ROWS: usize = 12;

/// Does something for each row of a tile, unrolled: with a loop the compiler would index the accumulators, and keep
/// them in memory.
macro_rules! each_row {
    ($M:ident, $m:ident => $body:expr) => {
        each_row!(@ $M, $m, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $M:ident, $m:ident, $body:expr, $($i:literal)*) => {
        $(if $i < $M {
            let $m = $i;
            $body
        })*
    };
}

/// Computes the tiles. `ROUNDED`: what is stored is words; there is no residual then, and there are no totals. (Not a field: a choice for each row
/// would keep the accumulators in memory.)
///
/// # Safety
/// The CPU has the instruction set; the promises of [`DotTileArgs`], with `M` rows and `N` registers a row.
#[inline(always)]
pub(crate) unsafe fn dot_tile<D: Dot, const M: usize, const N: usize, const ROUNDED: bool>(
    a: &DotTileArgs,
) {
    const { assert!(M <= MOST_ROWS) };
    let mut prefetch = a.prefetch;
    for tile in 0..a.tiles {
        // SAFETY: all pointers stay inside the ranges that DotTileArgs promises.
        unsafe {
            let mut sums = [[D::zero(); N]; M];
            if !a.start.is_null() {
                #[expect(clippy::needless_range_loop, reason = "`each_row` needs the number")]
                for n in 0..N {
                    let start = D::start(a.start.add(n * D::V::LANES));
                    each_row!(M, m => sums[m][n] = start);
                }
            }
            prefetch_rows::<D::V, M, N>(a, tile * M * a.row_stride);
            let mut w = a.w;
            for tap in 0..a.taps {
                let offsets = a.offsets.add(tap * a.offsets_stride + tile * M);
                let mut rows = [a.padding; M];
                for (m, row) in rows.iter_mut().enumerate() {
                    let offset = *offsets.add(m);
                    if offset >= 0 {
                        *row = a.x.offset(offset);
                    }
                }
                let mut k = 0;
                while k + UNROLL <= a.k {
                    D::V::prefetch(prefetch.cast());
                    if a.prefetch_step * UNROLL > LINE {
                        for i in 1..UNROLL {
                            D::V::prefetch(prefetch.wrapping_add(i * a.prefetch_step).cast());
                        }
                    }
                    for i in 0..UNROLL {
                        // Loads of later steps, made earlier, would take accumulators' registers.
                        compiler_fence(Ordering::SeqCst);
                        multiply::<D, M, N>(&mut sums, &rows, k + i, w.add(i * N * D::V::LANES));
                    }
                    prefetch = prefetch.wrapping_add(UNROLL * a.prefetch_step);
                    w = w.add(UNROLL * N * D::V::LANES);
                    k += UNROLL;
                }
                while k < a.k {
                    multiply::<D, M, N>(&mut sums, &rows, k, w);
                    w = w.add(N * D::V::LANES);
                    k += 1;
                }
            }
            epilogue::<D, M, N, ROUNDED>(a, tile * M * a.row_stride, sums);
        }
    }
}

/// Adds the products of one word of k, whose row of weights is at `w`.
///
/// # Safety
/// The CPU has the instruction set. Each row is valid for reading the word at `k`, `w` for a panel's width of words.
#[inline(always)]
unsafe fn multiply<D: Dot, const M: usize, const N: usize>(
    sums: &mut [[D::Sum; N]; M],
    rows: &[*const u32; M],
    k: usize,
    w: *const u32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut b = [D::load(w); N];
        for (n, b) in b.iter_mut().enumerate().skip(1) {
            *b = D::load(w.add(n * D::V::LANES));
        }
        each_row!(M, m => {
            let x = D::spread(rows[m].add(k));
            for n in 0..N {
                sums[m][n] = D::dot(sums[m][n], x, b[n]);
            }
        });
    }
}

/// Prefetches the rows that `epilogue` will read and write.
#[inline(always)]
fn prefetch_rows<V: Vector, const M: usize, const N: usize>(a: &DotTileArgs, at: usize) {
    for m in 0..M {
        let row = at + m * a.row_stride;
        let registers = if a.far { N } else { 1 };
        for register in (0..registers).map(|n| row + n * V::LANES) {
            prefetch_for_writing(a.out.wrapping_add(register));
            if !a.residual.is_null() {
                prefetch_near(a.residual.wrapping_add(register));
            }
        }
    }
}

/// Scale, bias, residual, ReLU, sums and the store.
///
/// # Safety
/// Rows of out and residual hold `cols` values, the others a whole panel.
#[inline(always)]
unsafe fn epilogue<D: Dot, const M: usize, const N: usize, const ROUNDED: bool>(
    a: &DotTileArgs,
    at: usize,
    sums: [[D::Sum; N]; M],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = D::V::splat(0.0);
        let mut bias = [zero; N];
        if !a.bias.is_null() {
            for (n, bias) in bias.iter_mut().enumerate() {
                *bias = D::V::load(a.bias.add(n * D::V::LANES));
            }
        }
        each_row!(M, m => {
            let place = at + m * a.row_stride;
            let mut row = finished::<D, N>(a, &sums[m], &bias);
            if !ROUNDED && !a.residual.is_null() {
                let other = load_row::<D::V, N>(a.residual.add(place), a.cols);
                for n in 0..N {
                    row[n] = row[n].add(other[n]);
                }
            }
            if a.relu {
                row = row.map(D::V::relu);
            }
            if ROUNDED {
                D::store_row(&row, a.out.add(place).cast(), a.cols, a.rounding);
            } else {
                store_row::<D::V, N>(&row, a.out.add(place), a.cols);
            }
        });
        if !ROUNDED && !a.sums.is_null() {
            add_rows::<D::V, M, N>(a, at);
        }
    }
}

/// Adds the rows that were just stored to the totals, row after row, so that these do not depend on how many rows a tile
/// has. Reading them again costs little; kept until here they would take accumulators' registers, wanted or not.
///
/// # Safety
/// That of [`epilogue`], with sums.
#[inline(always)]
unsafe fn add_rows<V: Vector, const M: usize, const N: usize>(a: &DotTileArgs, at: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut totals = [V::splat(0.0); N];
        for (n, total) in totals.iter_mut().enumerate() {
            *total = V::load(a.sums.add(n * V::LANES));
        }
        for m in 0..M {
            let row = load_row::<V, N>(a.out.add(at + m * a.row_stride), a.cols);
            for n in 0..N {
                totals[n] = totals[n].add(row[n]);
            }
        }
        for (n, total) in totals.into_iter().enumerate() {
            total.store(a.sums.add(n * V::LANES));
        }
    }
}

/// A row of sums as f32, with the bias.
///
/// # Safety
/// That of [`epilogue`].
#[inline(always)]
unsafe fn finished<D: Dot, const N: usize>(
    a: &DotTileArgs,
    sums: &[D::Sum; N],
    bias: &[D::V; N],
) -> [D::V; N] {
    let mut row = *bias;
    for n in 0..N {
        // SAFETY: the caller's promise.
        let value = unsafe { D::to_f32(sums[n], a.scale.wrapping_add(n * D::V::LANES)) };
        row[n] = value.add(bias[n]);
    }
    row
}
