//! The micro-kernel: M pixels times N registers of output channels, all taps, one block of k.

use crate::arch::prefetch::{prefetch_for_writing, prefetch_near};
use crate::arch::vector::Vector;
use crate::tuning::{LINE, UNROLL};
use std::sync::atomic::{Ordering, compiler_fence};

/// Everything one call of the micro-kernel reads and writes.
///
/// `checked/tile.rs` keeps the promises: each `offsets` entry is negative (a pixel in the
/// padding) or leaves `kc` readable values at `x`; `w` holds `taps * kc` rows of the panel's
/// width; `out` and `residual` have `tiles * M` rows of `cols` values, `row_stride`
/// apart.
pub(crate) struct TileArgs {
    /// Tiles to compute, one after the other in `offsets`, `out` and `residual`.
    pub tiles: usize,
    /// The input at the first channel of this block of k.
    pub x: *const f32,
    /// `[tap][offsets_stride]` element offsets of the pixels under each tap.
    pub offsets: *const isize,
    pub offsets_stride: usize,
    pub taps: usize,
    /// Channels of this block.
    pub kc: usize,
    /// At least `kc` zeros: what a pixel in the padding reads.
    pub zeros: *const f32,
    /// `[tap][k][width]` weights.
    pub w: *const f32,
    pub out: *mut f32,
    pub row_stride: usize,
    /// Valid columns of the panel: all but the last register are full.
    pub cols: usize,
    /// First block of k: the bias is added instead of what `out` holds.
    pub first: bool,
    /// Last block of k: residual, ReLU and sums apply.
    pub last: bool,
    /// A whole panel's width of values, or null for none.
    pub bias: *const f32,
    /// Laid out like `out`, or null for none.
    pub residual: *const f32,
    pub relu: bool,
    /// `out` and `residual` are larger than the caches: whole rows are fetched ahead.
    pub far: bool,
    /// A whole panel's width of running sums, or null for none.
    pub sums: *mut f32,
    /// Weights that will be wanted next, and how many of their values to fetch for each k of
    /// each tap: a burst of fetches would hold up the loads between them.
    pub prefetch: *const f32,
    pub prefetch_step: usize,
}

/// A micro-kernel of one instruction set and size.
pub(crate) type TileFn = unsafe fn(&TileArgs);

/// Computes the tiles.
///
/// # Safety
/// The CPU has the instruction set; the promises of [`TileArgs`], with `M` rows and `N` registers a row.
#[inline(always)]
pub(crate) unsafe fn tile<V: Vector, const M: usize, const N: usize>(a: &TileArgs) {
    let mut prefetch = a.prefetch;
    for tile in 0..a.tiles {
        // SAFETY: all pointers stay inside the ranges that TileArgs promises.
        unsafe {
            let mut acc = [[V::splat(0.0); N]; M];
            prefetch_rows::<V, M, N>(a, tile * M * a.row_stride);
            let mut w = a.w;
            for tap in 0..a.taps {
                let offsets = a.offsets.add(tap * a.offsets_stride + tile * M);
                let mut rows = [a.zeros; M];
                for (m, row) in rows.iter_mut().enumerate() {
                    let offset = *offsets.add(m);
                    if offset >= 0 {
                        *row = a.x.offset(offset);
                    }
                }
                let mut k = 0;
                // With three registers a row, AVX2's sixteen hold no more than a step.
                while N < 3 && k + UNROLL <= a.kc {
                    V::prefetch(prefetch);
                    if a.prefetch_step * UNROLL > LINE {
                        for i in 1..UNROLL {
                            V::prefetch(prefetch.wrapping_add(i * a.prefetch_step));
                        }
                    }
                    prefetch = prefetch.wrapping_add(UNROLL * a.prefetch_step);
                    for i in 0..UNROLL {
                        // Loads of later steps, made earlier, would take accumulators' registers.
                        compiler_fence(Ordering::SeqCst);
                        multiply::<V, M, N>(&mut acc, &rows, k + i, w.add(i * N * V::LANES));
                    }
                    w = w.add(UNROLL * N * V::LANES);
                    k += UNROLL;
                }
                while k < a.kc {
                    V::prefetch(prefetch);
                    prefetch = prefetch.wrapping_add(a.prefetch_step);
                    multiply::<V, M, N>(&mut acc, &rows, k, w);
                    w = w.add(N * V::LANES);
                    k += 1;
                }
            }
            epilogue::<V, M, N>(a, tile * M * a.row_stride, &mut acc);
        }
    }
}

/// Adds the products of one k, whose row of weights is at `w`.
///
/// # Safety
/// The CPU has the instruction set. Each row is valid for reading the value at `k`, `w` for a panel's width of values.
#[inline(always)]
unsafe fn multiply<V: Vector, const M: usize, const N: usize>(
    acc: &mut [[V; N]; M],
    rows: &[*const f32; M],
    k: usize,
    w: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut b = [V::splat(0.0); N];
        for (n, b) in b.iter_mut().enumerate() {
            *b = V::load(w.add(n * V::LANES));
        }
        for m in 0..M {
            let x = V::splat(*rows[m].add(k));
            for n in 0..N {
                acc[m][n] = x.mul_add(b[n], acc[m][n]);
            }
        }
    }
}

/// Prefetches the rows that `epilogue` will read and write.
///
/// Of maps that stay in a cache their first lines will do; more cost more than they save.
#[inline(always)]
fn prefetch_rows<V: Vector, const M: usize, const N: usize>(a: &TileArgs, at: usize) {
    for m in 0..M {
        let row = at + m * a.row_stride;
        if a.far {
            for register in (0..N).map(|n| row + n * V::LANES) {
                prefetch_for_writing(a.out.wrapping_add(register));
                if !a.residual.is_null() {
                    prefetch_near(a.residual.wrapping_add(register));
                }
            }
            continue;
        }
        V::prefetch(a.out.wrapping_add(row));
        if !a.residual.is_null() {
            V::prefetch(a.residual.wrapping_add(row));
        }
    }
}

/// Earlier blocks of k or the bias, residual, ReLU, sums and the store.
///
/// Each block of k is summed on its own and added at its end: rounding errors grow with the
/// length of a block, not of the whole sum.
#[inline(always)]
unsafe fn epilogue<V: Vector, const M: usize, const N: usize>(
    a: &TileArgs,
    at: usize,
    acc: &mut [[V; N]; M],
) {
    let out = a.out.wrapping_add(at);
    // SAFETY: rows of out and residual hold `cols` values, sums a whole panel.
    unsafe {
        if !a.first {
            add_rows::<V, M, N>(acc, out, a.row_stride, a.cols);
        } else if !a.bias.is_null() {
            add_rows::<V, M, N>(acc, a.bias, 0, N * V::LANES);
        }
        if a.last && !a.residual.is_null() {
            add_rows::<V, M, N>(acc, a.residual.add(at), a.row_stride, a.cols);
        }
        if a.last && a.relu {
            for n in acc.as_flattened_mut() {
                *n = n.relu();
            }
        }
        if a.last && !a.sums.is_null() {
            for n in 0..N {
                let mut sum = V::load(a.sums.add(n * V::LANES));
                for row in acc.iter() {
                    sum = sum.add(row[n]);
                }
                sum.store(a.sums.add(n * V::LANES));
            }
        }
        for (m, row) in acc.iter().enumerate() {
            store_row::<V, N>(row, out.add(m * a.row_stride), a.cols);
        }
    }
}

/// # Safety
/// As for `load_row`, for M rows `stride` apart.
#[inline(always)]
unsafe fn add_rows<V: Vector, const M: usize, const N: usize>(
    acc: &mut [[V; N]; M],
    p: *const f32,
    stride: usize,
    cols: usize,
) {
    for (m, row) in acc.iter_mut().enumerate() {
        // SAFETY: the caller's promise for row m.
        let other = unsafe { load_row::<V, N>(p.add(m * stride), cols) };
        for n in 0..N {
            row[n] = row[n].add(other[n]);
        }
    }
}

/// # Safety
/// The CPU has the instruction set; `p` is valid for reading `cols` values, `(N-1)*LANES < cols <= N*LANES`.
#[inline(always)]
pub(crate) unsafe fn load_row<V: Vector, const N: usize>(p: *const f32, cols: usize) -> [V; N] {
    // SAFETY: the registers before the last are full, the last reads what is left of `cols`.
    unsafe {
        let mut row = [V::splat(0.0); N];
        for (n, v) in row.iter_mut().enumerate().take(N - 1) {
            *v = V::load(p.add(n * V::LANES));
        }
        let tail = p.add((N - 1) * V::LANES);
        row[N - 1] = if cols == N * V::LANES {
            V::load(tail)
        } else {
            V::load_first(tail, cols - (N - 1) * V::LANES)
        };
        row
    }
}

/// # Safety
/// `p` is valid for writing `cols` values, `(N-1)*LANES < cols <= N*LANES`.
#[inline(always)]
pub(crate) unsafe fn store_row<V: Vector, const N: usize>(row: &[V; N], p: *mut f32, cols: usize) {
    // SAFETY: the registers before the last are full, the last writes what is left of `cols`.
    unsafe {
        for (n, v) in row.iter().enumerate().take(N - 1) {
            v.store(p.add(n * V::LANES));
        }
        let tail = p.add((N - 1) * V::LANES);
        if cols == N * V::LANES {
            row[N - 1].store(tail);
        } else {
            row[N - 1].store_first(tail, cols - (N - 1) * V::LANES);
        }
    }
}
