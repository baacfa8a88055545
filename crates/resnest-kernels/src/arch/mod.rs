//! Instruction sets: one vector type each, and the same kernels compiled for every one of them.
//!
//! `vector.rs` is the trait, `tile.rs` (and its siblings) the kernels written once against it;
//! `portable.rs`, `avx2.rs`, `avx512.rs` and `neon.rs` implement the trait and instantiate the
//! kernels under their target features into a `Kernels` table. Safe drivers with the bounds
//! checks (`block.rs`) stand between these raw-pointer kernels and the rest of the crate.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod block;
mod fetch;
pub(crate) mod form;
mod isa;
mod narrow;
pub(crate) mod narrow_rows;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
pub(crate) mod rows;
mod tile;
pub(crate) mod transform;
mod vector;
pub(crate) mod window;
mod winograd;
pub(crate) mod winograd_weights;

pub use isa::{Isa, IsaKind};
use narrow::NarrowFn;
use narrow_rows::RowFn;
use rows::{ColumnFn, GateFn, ReduceFn, WeightedFn};
use tile::TileFn;
pub(crate) use tile::UNROLL;
pub(crate) use vector::relu;
use winograd::{InputFn, OutputFn};
use winograd_weights::WeightsFn;

/// The kernels of one instruction set. Their safety conditions include that the CPU has it.
pub(crate) struct Kernels {
    /// Lanes of the vector type: panels are packed in multiples of it.
    pub lanes: usize,
    /// `tile[n - 1][m - 1]` computes `m` pixels by `n` registers of channels.
    tile: [&'static [TileFn]; 3],
    /// By `Form`.
    winograd_input: [InputFn; 6],
    winograd_output: [OutputFn; 6],
    winograd_weights: WeightsFn,
    /// By `Reduce`.
    reduce: [ReduceFn; 3],
    weighted: WeightedFn,
    /// Groups of 2, 4 and 8 channels.
    narrow: [NarrowFn; 3],
    /// Groups of 2, 4, 8 and 16 channels, at stride 1 and 2.
    narrow_row: [[RowFn; 2]; 4],
    column_sum: ColumnFn,
    column_max: ColumnFn,
    gate: GateFn,
}

/// Instantiates every kernel for one vector type under its target features.
///
/// Row counts: 8x1, 6x2 and 4x3 accumulators plus a row of weights and one broadcast fit 16
/// registers; 12-row tiles were measured to spill.
macro_rules! kernel_table {
    ($v:ty, $name:literal, [$($feature:meta)?]) => {
        $(#[$feature])?
        unsafe fn tile<const M: usize, const N: usize>(args: &super::tile::TileArgs) {
            // SAFETY: passed on to the caller; the features are this function's.
            unsafe { super::tile::tile::<$v, M, N>(args) }
        }

        $(#[$feature])?
        unsafe fn input<T, const A: usize, const M: usize>(args: &super::winograd::InputArgs)
        where
            T: super::form::Transform<A, M>,
        {
            // SAFETY: as above.
            unsafe { super::winograd::input::<$v, T, A, M>(args) }
        }

        $(#[$feature])?
        unsafe fn input_strided<T, const A: usize, const M: usize, const S: usize>(args: &super::winograd::InputArgs)
        where
            T: super::form::StridedTransform<A, M>,
        {
            // SAFETY: as above.
            unsafe { super::winograd::input_strided::<$v, T, A, M, S>(args) }
        }

        $(#[$feature])?
        unsafe fn output<T, const A: usize, const M: usize>(args: &super::winograd::OutputArgs)
        where
            T: super::form::Transform<A, M>,
        {
            // SAFETY: as above.
            unsafe { super::winograd::output::<$v, T, A, M>(args) }
        }

        $(#[$feature])?
        unsafe fn weights(weights: &mut super::winograd_weights::Weights) {
            super::winograd_weights::transform(weights);
        }

        $(#[$feature])?
        unsafe fn reduce<R: super::rows::Reduction>(args: &super::rows::ReduceArgs) {
            // SAFETY: as above.
            unsafe { super::rows::reduce::<$v, R>(args) }
        }

        $(#[$feature])?
        unsafe fn weighted(args: &super::rows::WeightedArgs) {
            // SAFETY: as above.
            unsafe { super::rows::weighted::<$v>(args) }
        }

        $(#[$feature])?
        unsafe fn narrow<const G: usize>(args: &super::narrow::NarrowArgs) {
            // SAFETY: as above.
            unsafe { super::narrow::narrow::<$v, G>(args) }
        }

        $(#[$feature])?
        unsafe fn narrow_row<const G: usize, const S: usize>(args: &super::narrow_rows::RowArgs) {
            // SAFETY: as above.
            unsafe { super::narrow_rows::narrow_row::<$v, G, S>(args) }
        }

        $(#[$feature])?
        unsafe fn columns<R: super::rows::Reduction>(args: &super::rows::ColumnArgs) {
            // SAFETY: as above.
            unsafe { super::rows::columns::<$v, R>(args) }
        }

        $(#[$feature])?
        unsafe fn gate(args: &super::rows::GateArgs) {
            // SAFETY: as above.
            unsafe { super::rows::gate::<$v>(args) }
        }

        pub(crate) static KERNELS: super::Kernels = super::Kernels {
            lanes: <$v as super::vector::Vector>::LANES,
            tile: [
                &[
                    tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>,
                    tile::<5, 1>, tile::<6, 1>, tile::<7, 1>, tile::<8, 1>,
                ],
                &[
                    tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>,
                    tile::<5, 2>, tile::<6, 2>,
                ],
                &[tile::<1, 3>, tile::<2, 3>, tile::<3, 3>, tile::<4, 3>],
            ],
            winograd_input: [
                input::<super::form::F2, 4, 2>,
                input::<super::form::F4, 6, 4>,
                input::<super::form::F5, 7, 5>,
                input::<super::form::F6, 8, 6>,
                input_strided::<super::form::S2, 3, 2, 5>,
                input_strided::<super::form::S4, 5, 4, 9>,
            ],
            winograd_output: [
                output::<super::form::F2, 4, 2>,
                output::<super::form::F4, 6, 4>,
                output::<super::form::F5, 7, 5>,
                output::<super::form::F6, 8, 6>,
                output::<super::form::S2, 3, 2>,
                output::<super::form::S4, 5, 4>,
            ],
            winograd_weights: weights,
            reduce: [
                reduce::<super::rows::Max>,
                reduce::<super::rows::Sum>,
                reduce::<super::rows::Dot>,
            ],
            weighted,
            narrow: [narrow::<2>, narrow::<4>, narrow::<8>],
            narrow_row: [
                [narrow_row::<2, 1>, narrow_row::<2, 2>],
                [narrow_row::<4, 1>, narrow_row::<4, 2>],
                [narrow_row::<8, 1>, narrow_row::<8, 2>],
                [narrow_row::<16, 1>, narrow_row::<16, 2>],
            ],
            column_sum: columns::<super::rows::Sum>,
            column_max: columns::<super::rows::Max>,
            gate,
        };
    };
}
use kernel_table;
