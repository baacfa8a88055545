//! The table of an instruction set's kernels, and the macro that compiles them for one.

use super::kernels::narrow::NarrowFn;
use super::kernels::narrow_rows::RowFn;
use super::kernels::rows::{ColumnFn, GateFn, ReduceFn, WeightedFn};
use super::kernels::tile::TileFn;
use super::kernels::winograd::{InputFn, OutputFn};
use super::kernels::winograd_weights::WeightsFn;

/// The kernels of one instruction set. Their safety conditions include that the CPU has it.
pub(crate) struct Kernels {
    /// Lanes of the vector type: panels are packed in multiples of it.
    pub lanes: usize,
    /// `tile[n - 1][m - 1]` computes `m` pixels by `n` registers of channels.
    pub tile: [&'static [TileFn]; 3],
    /// By `Form`; of the last, which is for bf16, no input of f32.
    pub winograd_input: [InputFn; 6],
    pub winograd_output: [OutputFn; 7],
    pub winograd_weights: WeightsFn,
    /// By `Reduce`.
    pub reduce: [ReduceFn; 3],
    pub weighted: WeightedFn,
    /// Groups of 2, 4 and 8 channels.
    pub narrow: [NarrowFn; 3],
    /// Groups of 2, 4, 8 and 16 channels, at stride 1 and 2.
    pub narrow_row: [[RowFn; 2]; 4],
    pub column_sum: ColumnFn,
    pub column_max: ColumnFn,
    pub gate: GateFn,
}

/// Instantiates every kernel for one vector type under its target features.
///
/// Row counts: 8x1, 6x2 and 4x3 accumulators plus a row of weights and one broadcast fit 16
/// registers; 12-row tiles were measured to spill.
macro_rules! kernel_table {
    ($v:ty, $name:literal, [$($feature:meta)?]) => {
        $(#[$feature])?
        unsafe fn tile<const M: usize, const N: usize>(args: &$crate::arch::kernels::tile::TileArgs) {
            // SAFETY: passed on to the caller; the features are this function's.
            unsafe { $crate::arch::kernels::tile::tile::<$v, M, N>(args) }
        }

        $(#[$feature])?
        unsafe fn input<T, const A: usize, const M: usize>(args: &$crate::arch::kernels::winograd::InputArgs)
        where
            T: $crate::arch::form::Transform<A, M>,
        {
            // SAFETY: as above.
            unsafe { $crate::arch::kernels::winograd::input::<$v, T, $crate::arch::kernels::winograd::AsF32, A, M>(args) }
        }

        $(#[$feature])?
        unsafe fn input_strided<T, const A: usize, const M: usize, const S: usize>(args: &$crate::arch::kernels::winograd::InputArgs)
        where
            T: $crate::arch::form::StridedTransform<A, M>,
        {
            // SAFETY: as above.
            unsafe { $crate::arch::kernels::winograd::input_strided::<$v, T, A, M, S>(args) }
        }

        $(#[$feature])?
        unsafe fn output<T, const A: usize, const M: usize>(args: &$crate::arch::kernels::winograd::OutputArgs)
        where
            T: $crate::arch::form::Transform<A, M>,
        {
            // SAFETY: as above.
            unsafe { $crate::arch::kernels::winograd::output::<$v, T, A, M>(args) }
        }

        $(#[$feature])?
        unsafe fn weights(weights: &mut $crate::arch::kernels::winograd_weights::Weights) {
            $crate::arch::kernels::winograd_weights::transform(weights);
        }

        $(#[$feature])?
        unsafe fn reduce<R: $crate::arch::kernels::rows::Reduction>(args: &$crate::arch::kernels::rows::ReduceArgs) {
            // SAFETY: as above.
            unsafe { $crate::arch::kernels::rows::reduce::<$v, R>(args) }
        }

        $(#[$feature])?
        unsafe fn weighted(args: &$crate::arch::kernels::rows::WeightedArgs) {
            // SAFETY: as above.
            unsafe { $crate::arch::kernels::rows::weighted::<$v>(args) }
        }

        $(#[$feature])?
        unsafe fn narrow<const G: usize>(args: &$crate::arch::kernels::narrow::NarrowArgs) {
            // SAFETY: as above.
            unsafe { $crate::arch::kernels::narrow::narrow::<$v, G>(args) }
        }

        $(#[$feature])?
        unsafe fn narrow_row<const G: usize, const S: usize>(args: &$crate::arch::kernels::narrow_rows::RowArgs) {
            // SAFETY: as above.
            unsafe { $crate::arch::kernels::narrow_rows::narrow_row::<$v, G, S>(args) }
        }

        $(#[$feature])?
        unsafe fn columns<R: $crate::arch::kernels::rows::Reduction>(args: &$crate::arch::kernels::rows::ColumnArgs) {
            // SAFETY: as above.
            unsafe { $crate::arch::kernels::rows::columns::<$v, R>(args) }
        }

        $(#[$feature])?
        unsafe fn gate(args: &$crate::arch::kernels::rows::GateArgs) {
            // SAFETY: as above.
            unsafe { $crate::arch::kernels::rows::gate::<$v>(args) }
        }

        pub(crate) static KERNELS: $crate::arch::table::Kernels = $crate::arch::table::Kernels {
            lanes: <$v as $crate::arch::vector::Vector>::LANES,
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
                input::<$crate::arch::form::F2, 4, 2>,
                input::<$crate::arch::form::F4, 6, 4>,
                input::<$crate::arch::form::F5, 7, 5>,
                input::<$crate::arch::form::F6, 8, 6>,
                input_strided::<$crate::arch::form::S2, 3, 2, 5>,
                input_strided::<$crate::arch::form::S4, 5, 4, 9>,
            ],
            winograd_output: [
                output::<$crate::arch::form::F2, 4, 2>,
                output::<$crate::arch::form::F4, 6, 4>,
                output::<$crate::arch::form::F5, 7, 5>,
                output::<$crate::arch::form::F6, 8, 6>,
                output::<$crate::arch::form::S2, 3, 2>,
                output::<$crate::arch::form::S4, 5, 4>,
                output::<$crate::arch::form::B4, 6, 4>,
            ],
            winograd_weights: weights,
            reduce: [
                reduce::<$crate::arch::kernels::rows::Max>,
                reduce::<$crate::arch::kernels::rows::Sum>,
                reduce::<$crate::arch::kernels::rows::Dot>,
            ],
            weighted,
            narrow: [narrow::<2>, narrow::<4>, narrow::<8>],
            narrow_row: [
                [narrow_row::<2, 1>, narrow_row::<2, 2>],
                [narrow_row::<4, 1>, narrow_row::<4, 2>],
                [narrow_row::<8, 1>, narrow_row::<8, 2>],
                [narrow_row::<16, 1>, narrow_row::<16, 2>],
            ],
            column_sum: columns::<$crate::arch::kernels::rows::Sum>,
            column_max: columns::<$crate::arch::kernels::rows::Max>,
            gate,
        };
    };
}
pub(super) use kernel_table;
