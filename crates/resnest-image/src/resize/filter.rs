//! The six filter functions and the quantised weights made from them, as Pillow's `Resample.c` defines them.

use std::f64::consts::PI;
use std::ops::Range;

use crate::Interpolation;

/// Fraction bits of a quantised weight: 32 less 8 for the pixel and 2 for overshoot and sign.
pub(crate) const PRECISION_BITS: u32 = 22;

/// A filter's value at a distance in source pixels, at scale 1.
type Shape = fn(f64) -> f64;

/// A filter's shape and its support. Nearest is no convolution and has none.
fn kernel(filter: Interpolation) -> Option<(Shape, f64)> {
    Some(match filter {
        Interpolation::Nearest => return None,
        Interpolation::Box => (boxed, 0.5),
        Interpolation::Bilinear => (triangle, 1.0),
        Interpolation::Hamming => (hamming, 1.0),
        Interpolation::Bicubic => (bicubic, 2.0),
        Interpolation::Lanczos => (lanczos, 3.0),
    })
}

fn boxed(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn hamming(x: f64) -> f64 {
    let x = x.abs();
    if x == 0.0 {
        return 1.0;
    }
    if x >= 1.0 {
        return 0.0;
    }
    let x = x * PI;
    // Pillow writes the two window constants as floats.
    x.sin() / x * (f64::from(0.54f32) + f64::from(0.46f32) * x.cos())
}

fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    fn sinc(x: f64) -> f64 {
        if x == 0.0 {
            return 1.0;
        }
        let x = x * PI;
        x.sin() / x
    }
    if (-3.0..3.0).contains(&x) {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

/// The weights of one output position, in units of 2^-[`PRECISION_BITS`].
///
/// Invariant: `first + weights.len() <= input size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taps<'a> {
    /// First source position.
    pub first: usize,
    pub weights: &'a [i32],
}

/// The weights of some output positions, one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct TapTable {
    /// For each output position its first source position, and where its weights end.
    positions: Vec<(usize, usize)>,
    weights: Vec<i32>,
}

impl TapTable {
    /// How many output positions.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Taps<'_>> {
        let mut start = 0;
        self.positions.iter().map(move |&(first, end)| {
            let weights = &self.weights[start..end];
            start = end;
            Taps { first, weights }
        })
    }

    fn push(&mut self, first: usize, weights: impl IntoIterator<Item = i32>) {
        self.weights.extend(weights);
        self.positions.push((first, self.weights.len()));
    }
}

/// Weights along one axis for the output positions of `window` (of `0..out_size`).
pub(crate) fn taps(
    filter: Interpolation,
    in_size: u32,
    out_size: u32,
    window: Range<u32>,
) -> TapTable {
    let Some((shape, support)) = kernel(filter) else {
        return nearest(in_size, out_size, window);
    };
    // The bounds of Pillow's box are floats.
    let scale = f64::from(in_size as f32) / f64::from(out_size);
    let filter_scale = scale.max(1.0);
    let support = support * filter_scale;
    let inverse = 1.0 / filter_scale;
    let mut table = TapTable::default();
    let mut weights: Vec<f64> = Vec::new();
    for x in window {
        let center = (f64::from(x) + 0.5) * scale;
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize)
            .min(in_size as usize)
            .max(first);
        weights.clear();
        weights.extend((first..end).map(|tap| shape((tap as f64 - center + 0.5) * inverse)));
        let sum: f64 = weights.iter().fold(0.0, |sum, w| sum + w);
        if sum != 0.0 {
            weights.iter_mut().for_each(|w| *w /= sum);
        }
        table.push(first, weights.iter().map(|&weight| quantise(weight)));
    }
    table
}

fn quantise(weight: f64) -> i32 {
    let half = if weight < 0.0 { -0.5 } else { 0.5 };
    (weight * f64::from(1 << PRECISION_BITS) + half) as i32
}

/// Nearest as one tap of weight 1, so that it runs through the same passes.
///
/// Pillow steps the source position by repeated addition; its rounding is part of the result.
fn nearest(in_size: u32, out_size: u32, window: Range<u32>) -> TapTable {
    let step = f64::from(in_size as f32) / f64::from(out_size);
    let mut position = step * 0.5;
    let mut table = TapTable::default();
    for x in 0..window.end {
        if x >= window.start {
            // A position past the edge is left black there: no taps.
            let inside = (position as u64) < u64::from(in_size);
            table.push(position as usize, inside.then_some(1 << PRECISION_BITS));
        }
        position += step;
    }
    table
}
