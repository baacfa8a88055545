//! The table of an instruction set's low-precision kernels, and the macro that compiles them for one.

use crate::arch::dot::RoundFn;
use crate::arch::kernels::dot_tile::DotTileFn;
use crate::arch::kernels::winograd::InputFn;

/// Micro-kernels by registers and pixels.
pub(crate) type Tiles = &'static [&'static [DotTileFn]];

/// The kernels for one kind of element. Their safety conditions include that the CPU has the instruction set.
pub(crate) struct DotKernels {
    /// What it is called in reports.
    pub name: &'static str,
    /// Lanes of a register of sums: panels are packed in multiples of it.
    pub lanes: usize,
    /// Values of k in a word.
    pub values: usize,
    /// `tile[n - 1][m - 1]` computes `m` pixels by `n` registers of channels.
    pub tile: Tiles,
    /// The same, which put out words.
    pub rounded_tile: Tiles,
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
                tile::<1, 1, R>, tile::<2, 1, R>, tile::<3, 1, R>, tile::<4, 1, R>, tile::<5, 1, R>, tile::<6, 1, R>,
                tile::<7, 1, R>, tile::<8, 1, R>, tile::<9, 1, R>, tile::<10, 1, R>, tile::<11, 1, R>, tile::<12, 1, R>,
            ],
            &[
                tile::<1, 2, R>, tile::<2, 2, R>, tile::<3, 2, R>, tile::<4, 2, R>, tile::<5, 2, R>, tile::<6, 2, R>,
                tile::<7, 2, R>, tile::<8, 2, R>, tile::<9, 2, R>, tile::<10, 2, R>, tile::<11, 2, R>, tile::<12, 2, R>,
            ],
            &[
                tile::<1, 3, R>, tile::<2, 3, R>, tile::<3, 3, R>, tile::<4, 3, R>,
                tile::<5, 3, R>, tile::<6, 3, R>, tile::<7, 3, R>, tile::<8, 3, R>,
            ],
            &[tile::<1, 4, R>, tile::<2, 4, R>, tile::<3, 4, R>, tile::<4, 4, R>, tile::<5, 4, R>, tile::<6, 4, R>],
        ]
    };
    (@tiles 16) => {
        &[
            &[
                tile::<1, 1, R>, tile::<2, 1, R>, tile::<3, 1, R>, tile::<4, 1, R>,
                tile::<5, 1, R>, tile::<6, 1, R>, tile::<7, 1, R>, tile::<8, 1, R>,
            ],
            &[tile::<1, 2, R>, tile::<2, 2, R>, tile::<3, 2, R>, tile::<4, 2, R>],
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
            use $crate::arch::dots::table::Tiles;

            $(#[$feature])?
            unsafe fn tile<const M: usize, const N: usize, const R: bool>(
                args: &$crate::arch::kernels::dot_tile::DotTileArgs,
            ) {
                // SAFETY: passed on to the caller; the features are this function's.
                unsafe { $crate::arch::kernels::dot_tile::dot_tile::<$dot, M, N, R>(args) }
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

            const fn tiles<const R: bool>() -> Tiles {
                $crate::arch::dots::table::dot_kernels!(@tiles $registers)
            }

            pub(crate) static KERNELS: $crate::arch::dots::table::DotKernels =
                $crate::arch::dots::table::DotKernels {
                    name: $name,
                    lanes: <<$dot as $crate::arch::dot::Dot>::V as $crate::arch::vector::Vector>::LANES,
                    values: <$dot as $crate::arch::dot::Dot>::VALUES,
                    tile: tiles::<false>(),
                    rounded_tile: tiles::<true>(),
                    round,
                    winograd_input: INPUT,
                };
        }
    };
}
pub(crate) use dot_kernels;
