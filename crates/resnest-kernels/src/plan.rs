//! Which algorithm for which convolution: a small cost model.

use crate::arch::dot::Element;
use crate::conv::Algorithm;
use crate::quantise::InputScale;
use crate::shape::{ConvSpec, Nhwc};
use crate::tuning::{
    LOW_MACS_PER_BYTE, MACS_PER_BYTE, MACS_PER_BYTE_KEPT, TAP_WORDS, WINOGRAD_TRANSFORM_MACS,
};

/// How exact results must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Direct convolution only: rounding errors of a plain sum (2e-7 relative).
    Exact,
    /// Winograd's algorithms where they are faster (up to 5e-6 relative a layer).
    #[default]
    Fast,
    /// Weights and what they are multiplied with rounded to bf16, sums in f32 (some 2.5e-3 relative a layer).
    Bf16,
    /// Convolutions whose inputs were calibrated in 8-bit integers, the others as [`Fast`](Self::Fast).
    Int8,
}

/// Most input channels a group for which F(5x5) and F(6x6) were seen to hold what [`Precision::Fast`]
/// promises: 4.6e-6 and 4.3e-6. F(6x6) of 256 is 6.2e-6 off.
const F5_CHANNELS: usize = 256;
const F6_CHANNELS: usize = 128;
/// Fewest input channels a group for F(4x4) in bf16. In deep stems, of 32, it put the map after them 1.8 to 3.1 times as
/// far from f64 as PyTorch's autocast.
const F4_BF16_CHANNELS: usize = 64;

/// Chooses by the shape alone, never by the number of threads, so that results keep their bits.
///
/// The model: multiply-adds, or weights read from memory (they are, once a forward) where those take
/// longer, for they are fetched ahead; plus the transforms of tiles; plus something for the memory
/// that weights take. At 14 pixels and one image F(4x4) and F(5x5) take a whole resnest50d the same
/// time; F(4x4)'s smaller weights make it 30 MB smaller, and count. Shapes of no use (too small an
/// input) get [`Algorithm::Direct`].
pub fn choose(spec: &ConvSpec, input: Nhwc, precision: Precision) -> Algorithm {
    let mut best = (Algorithm::Direct, cost(spec, input, Algorithm::Direct));
    if precision == Precision::Exact {
        return best.0;
    }
    // A product of Winograd's takes a whole register for each of such groups, or is no longer than
    // one; the kernel for rows of pixels is near the CPU's peak.
    let narrow = spec.groups > 1
        && (spec.group_in() <= 8 || (spec.group_in(), spec.group_out()) == (16, 16));
    for algorithm in Algorithm::ALL {
        let most = match algorithm {
            Algorithm::WinogradF5 => F5_CHANNELS,
            Algorithm::WinogradF6 => F6_CHANNELS,
            _ => usize::MAX,
        };
        let allowed = match algorithm.element() {
            Some(_) => precision == Precision::Bf16 && is_near_enough(spec, algorithm),
            None => !narrow && spec.group_in() <= most,
        };
        let found = cost(spec, input, algorithm);
        if allowed && found < best.1 {
            best = (algorithm, found);
        }
    }
    best.0
}

/// The algorithm for a convolution whose input was calibrated: integers, or one of those for [`Precision::Bf16`] where that
/// is cheaper, and nearer to the definition too. `None` if there are no integer kernels for it.
pub fn choose_int8(spec: &ConvSpec, input: Nhwc, scale: InputScale) -> Option<Algorithm> {
    let integers = Algorithm::DirectInt8(scale);
    let other = choose(spec, input, Precision::Bf16);
    let cheaper = cost(spec, input, other) < cost(spec, input, integers);
    let best = if cheaper { other } else { integers };
    integers.supports(spec).then_some(best)
}

/// Whether rounding to bf16 costs no more accuracy than it may: F(4x4)'s errors average out over many channels alone.
fn is_near_enough(spec: &ConvSpec, algorithm: Algorithm) -> bool {
    algorithm != Algorithm::WinogradF4Bf16 || spec.group_in() >= F4_BF16_CHANNELS
}

/// Estimated cost in multiply-adds at full speed.
pub fn cost(spec: &ConvSpec, input: Nhwc, algorithm: Algorithm) -> f64 {
    let Ok(output) = spec.output(input) else {
        return f64::INFINITY;
    };
    let (k, o) = (spec.group_in() as f64, spec.out_channels as f64);
    // How many values of k one instruction multiplies, each of a fraction of four bytes.
    let at_once = match algorithm.element() {
        Some(Element::Int8) => 4.0,
        Some(Element::Bf16) => 2.0,
        None => 1.0,
    };
    let with_weights = |macs: f64, values: f64| {
        let (macs, bytes) = (macs / at_once, values * 4.0 / at_once);
        let per_byte = match at_once > 1.0 {
            true => LOW_MACS_PER_BYTE,
            false => MACS_PER_BYTE,
        };
        macs.max(bytes * per_byte) + bytes * MACS_PER_BYTE_KEPT
    };
    if !algorithm.supports(spec) {
        return f64::INFINITY;
    }
    let Some(form) = algorithm.form(spec) else {
        let weights = spec.weight_len() as f64;
        let macs = output.pixels() as f64 * weights;
        // Each tap of a tile, or all of a row of the kernel, begins with its pixels' places: as long as some words of k.
        let as_one = if spec.dilation == 1 { spec.kernel } else { 1 };
        let words = k / at_once * as_one as f64;
        let begin = if at_once > 1.0 {
            TAP_WORDS / words
        } else {
            0.0
        };
        return with_weights(macs * (1.0 + begin), weights);
    };
    let side = form.outputs();
    let tiles = |pixels: usize| {
        // Rows or columns of every phase of a dilation are tiled on their own.
        let phases = (spec.dilation / spec.stride).max(1);
        (0..phases.min(pixels))
            .map(|phase| (pixels - phase).div_ceil(phases * side))
            .sum::<usize>()
    };
    let tiles = (output.n * tiles(output.h) * tiles(output.w)) as f64;
    let (terms, products) = (form.terms() as f64, form.products() as f64);
    let weights = terms * k * o;
    let transforms =
        tiles * (terms * spec.in_channels as f64 + products * o) * WINOGRAD_TRANSFORM_MACS as f64;
    with_weights(tiles * weights, weights) + transforms
}
