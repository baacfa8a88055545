//! The table of an instruction set's low-precision kernels, and the macro that compiles them for one.

use crate::arch::dot::RoundFn;
use crate::arch::kernels::dot_tile::DotTileFn;
use crate::arch::kernels::winograd::InputFn;

/// The kernels for one kind of element. Their safety conditions include that the CPU has the instruction set.
pub(crate) struct DotKernels {
    /// What it is called in reports.
    pub name: &'static str,
    /// Lanes of a register of sums: panels are packed in multiples of it.
    pub lanes: usize,
    /// Values of k in a word.
    pub values: usize,
    /// `tile[n - 1][m - 1]` computes `m` pixels by `n` registers of channels.
    pub tile: &'static [&'static [DotTileFn]],
    pub round: RoundFn,
    /// Input transforms of F2 and B4 that put out bf16; none of integers.
    pub winograd_input: Option<[InputFn; 2]>,
}

/// Instantiates the kernels of a [`Dot`](crate::arch::dot::Dot) under its target features, in a module of their own.
///
/// With 32 registers a tile has up to 6x4, 8x3 or 12x2 of sums, with 16 up to 4x2 or 8x1.
macro_rules! dot_kernels {
    (@tiles 32) => {
        &[
            &[
                tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>, tile::<5, 1>, tile::<6, 1>,
                tile::<7, 1>, tile::<8, 1>, tile::<9, 1>, tile::<10, 1>, tile::<11, 1>, tile::<12, 1>,
            ],
            &[
                tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>, tile::<5, 2>, tile::<6, 2>,
                tile::<7, 2>, tile::<8, 2>, tile::<9, 2>, tile::<10, 2>, tile::<11, 2>, tile::<12, 2>,
            ],
            &[
                tile::<1, 3>, tile::<2, 3>, tile::<3, 3>, tile::<4, 3>,
                tile::<5, 3>, tile::<6, 3>, tile::<7, 3>, tile::<8, 3>,
            ],
            &[tile::<1, 4>, tile::<2, 4>, tile::<3, 4>, tile::<4, 4>, tile::<5, 4>, tile::<6, 4>],
        ]
    };
    (@tiles 16) => {
        &[
            &[
                tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>,
                tile::<5, 1>, tile::<6, 1>, tile::<7, 1>, tile::<8, 1>,
            ],
            &[tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>],
        ]
    };
    (@winograd integers, $dot:ty, [$($feature:meta)?]) => {
        const INPUT: Option<[$crate::arch::kernels::winograd::InputFn; 2]> = None;
    };
    (@winograd bf16, $dot:ty, [$($feature:meta)?]) => {
        $(#[$feature])?
        unsafe fn input<T, const A: usize, const M: usize>(
            args: &$crate::arch::kernels::winograd::InputArgs,
        )
        where
            T: $crate::arch::form::Transform<A, M>,
        {
            use $crate::arch::kernels::winograd::AsBf16;
            // SAFETY: passed on to the caller; the features are this function's.
            unsafe {
                $crate::arch::kernels::winograd::input::<
                    <$dot as $crate::arch::dot::Dot>::V, T, AsBf16<$dot>, A, M,
                >(args)
            }
        }

        const INPUT: Option<[$crate::arch::kernels::winograd::InputFn; 2]> = Some([
            input::<$crate::arch::form::F2, 4, 2>,
            input::<$crate::arch::form::B4, 6, 4>,
        ]);
    };
    ($module:ident, $kind:ident, $name:literal, $dot:ty, $registers:tt, $round:path, [$($feature:meta)?]) => {
        pub(crate) mod $module {
            use super::*;

            $(#[$feature])?
            unsafe fn tile<const M: usize, const N: usize>(
                args: &$crate::arch::kernels::dot_tile::DotTileArgs,
            ) {
                // SAFETY: passed on to the caller; the features are this function's.
                unsafe { $crate::arch::kernels::dot_tile::dot_tile::<$dot, M, N>(args) }
            }

            $(#[$feature])?
            unsafe fn round(
                x: *const f32,
                values: usize,
                words: *mut u32,
                rounding: $crate::arch::dot::Rounding,
            ) {
                // SAFETY: as above.
                unsafe { $round(x, values, words, rounding) }
            }

            $crate::arch::dots::table::dot_kernels!(@winograd $kind, $dot, [$($feature)?]);

            pub(crate) static KERNELS: $crate::arch::dots::table::DotKernels =
                $crate::arch::dots::table::DotKernels {
                    name: $name,
                    lanes: <<$dot as $crate::arch::dot::Dot>::V as $crate::arch::vector::Vector>::LANES,
                    values: <$dot as $crate::arch::dot::Dot>::VALUES,
                    tile: $crate::arch::dots::table::dot_kernels!(@tiles $registers),
                    round,
                    winograd_input: INPUT,
                };
        }
    };
}
pub(crate) use dot_kernels;
