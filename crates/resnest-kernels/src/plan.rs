//! Which algorithm for which convolution: a small cost model.

use crate::conv::Algorithm;
use crate::shape::{ConvSpec, Nhwc};

/// How exact results must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Direct convolution only: rounding errors of a plain sum (2e-7 relative).
    Exact,
    /// Winograd's algorithms where they are faster (up to 5e-6 relative a layer).
    #[default]
    Fast,
}

/// Multiply-adds an f32 kernel does while one byte of weights comes from memory, with all threads
/// sharing it: 200 GFLOP/s over 27 GB/s, halved for the pairs.
const MACS_PER_BYTE: f64 = 2.5;
/// What a value costs in Winograd's input and output transforms, in multiply-adds.
const TRANSFORM: f64 = 10.0;

/// Chooses by the shape alone, never by the number of threads, so that results keep their bits.
///
/// The model: multiply-adds, plus weights read from memory (they are, once a forward), plus the
/// transforms of tiles. Shapes of no use (too small an input) get [`Algorithm::Direct`].
pub fn choose(spec: &ConvSpec, input: Nhwc, precision: Precision) -> Algorithm {
    let mut best = (Algorithm::Direct, cost(spec, input, Algorithm::Direct));
    // A product of Winograd's takes a whole register for each of such groups, or is no longer than
    // one; the kernel for rows of pixels is near the CPU's peak.
    let narrow = spec.groups > 1
        && (spec.group_in() <= 8 || (spec.group_in(), spec.group_out()) == (16, 16));
    if precision == Precision::Fast && !narrow {
        for algorithm in [Algorithm::WinogradF2, Algorithm::WinogradF4] {
            let found = cost(spec, input, algorithm);
            if algorithm.supports(spec) && found < best.1 {
                best = (algorithm, found);
            }
        }
    }
    best.0
}

/// Estimated cost in multiply-adds at full speed.
pub fn cost(spec: &ConvSpec, input: Nhwc, algorithm: Algorithm) -> f64 {
    let Ok(output) = spec.output(input) else {
        return f64::INFINITY;
    };
    let (k, o) = (spec.group_in() as f64, spec.out_channels as f64);
    let memory = |values: f64| values * 4.0 * MACS_PER_BYTE;
    let side = match algorithm {
        Algorithm::Direct => {
            let weights = spec.weight_len() as f64;
            return output.pixels() as f64 * weights + memory(weights);
        }
        Algorithm::WinogradF2 => 2,
        Algorithm::WinogradF4 => 4,
    };
    let tiles = |pixels: usize| {
        // Rows or columns of every phase of a dilation are tiled on their own.
        let phases = spec.dilation.div_ceil(spec.stride);
        (0..phases.min(pixels))
            .map(|phase| (pixels - phase).div_ceil(phases * side))
            .sum::<usize>()
    };
    let tiles = (output.n * tiles(output.h) * tiles(output.w)) as f64;
    let products = ((side + 2) * (side + 2)) as f64;
    let weights = products * k * o;
    let transforms = tiles * products * (spec.in_channels as f64 + o) * TRANSFORM;
    tiles * weights + memory(weights) + transforms
}
