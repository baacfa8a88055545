//! The specification: every operation as its obvious loop, accumulated in f64.
//!
//! Nothing here is fast and nothing in the product calls it; tests and doubts do. What is not a number
//! goes through as in PyTorch: `relu(NaN)` and the maximum of a window with a NaN are NaN, and a softmax
//! with one is NaN throughout. Zeros of the padding are not multiplied, as in oneDNN's convolutions.

use crate::attention::SplitAttentionWeights;
use crate::pool::{PoolKind, PoolSpec};
use crate::shape::{ConvSpec, Nhwc};

/// Convolution of `x` (NHWC) with `weight` (OIHW): bias, then residual, then ReLU.
///
/// # Panics
/// If a slice is shorter than its shape says, or the specification does not fit the input.
pub fn conv2d(
    x: &[f32],
    input: Nhwc,
    spec: &ConvSpec,
    weight: &[f32],
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    relu: bool,
) -> Vec<f64> {
    let output = spec.output(input).expect("a fitting input");
    let mut out = Vec::with_capacity(output.len());
    for n in 0..output.n {
        for oy in 0..output.h {
            for ox in 0..output.w {
                for o in 0..output.c {
                    let mut sum = conv2d_at(x, input, spec, weight, [n, oy, ox, o]);
                    sum += bias.map_or(0.0, |b| f64::from(b[o]));
                    sum += residual.map_or(0.0, |r| f64::from(r[out.len()]));
                    out.push(if relu { self::relu(sum) } else { sum });
                }
            }
        }
    }
    out
}

/// One value of [`conv2d`] before its epilogue, at image, row, column and channel.
///
/// # Panics
/// If a slice is shorter than its shape says.
pub fn conv2d_at(
    x: &[f32],
    input: Nhwc,
    spec: &ConvSpec,
    weight: &[f32],
    [n, oy, ox, o]: [usize; 4],
) -> f64 {
    let (cin, k) = (spec.group_in(), spec.kernel);
    let group = o / spec.group_out();
    let mut sum = 0.0;
    for ky in 0..k {
        for kx in 0..k {
            let y = (oy * spec.stride + ky * spec.dilation).wrapping_sub(spec.padding);
            let x_ = (ox * spec.stride + kx * spec.dilation).wrapping_sub(spec.padding);
            if y >= input.h || x_ >= input.w {
                continue;
            }
            for c in 0..cin {
                let value = x[((n * input.h + y) * input.w + x_) * input.c + group * cin + c];
                let factor = weight[((o * cin + c) * k + ky) * k + kx];
                sum += f64::from(value) * f64::from(factor);
            }
        }
    }
    sum
}

/// A pool over windows, PyTorch's rules written out.
///
/// # Panics
/// If the specification does not fit the input.
pub fn pool2d(x: &[f32], input: Nhwc, spec: PoolSpec) -> Vec<f64> {
    let output = spec.output(input).expect("a fitting input");
    let [before, after] = spec.padding;
    let mut out = Vec::with_capacity(output.len());
    for n in 0..output.n {
        for oy in 0..output.h {
            for ox in 0..output.w {
                for c in 0..output.c {
                    let (mut sum, mut most, mut inside, mut counted) =
                        (0.0, f64::NEG_INFINITY, 0, 0);
                    for y in oy * spec.stride..oy * spec.stride + spec.kernel {
                        for x_ in ox * spec.stride..ox * spec.stride + spec.kernel {
                            let padded = |side| side + before + after;
                            if y >= padded(input.h) || x_ >= padded(input.w) {
                                continue;
                            }
                            counted += 1;
                            if y < before
                                || x_ < before
                                || y - before >= input.h
                                || x_ - before >= input.w
                            {
                                continue;
                            }
                            inside += 1;
                            let row = n * input.h + y - before;
                            let value = f64::from(x[(row * input.w + x_ - before) * input.c + c]);
                            sum += value;
                            most = larger(most, value);
                        }
                    }
                    out.push(match spec.kind {
                        PoolKind::Max => most,
                        PoolKind::AvgCounted => sum / f64::from(counted),
                        PoolKind::Avg => sum / f64::from(inside),
                    });
                }
            }
        }
    }
    out
}

/// Split attention after its convolution: `splits` is (N, H, W, radix·channels), radix-major.
///
/// # Panics
/// If a slice is shorter than its shape says.
pub fn split_attention(splits: &[f32], shape: Nhwc, w: &SplitAttentionWeights) -> Vec<f64> {
    let channels = shape.c / w.radix;
    let pixels = shape.h * shape.w;
    let mut out = vec![0.0; shape.n * pixels * channels];
    for n in 0..shape.n {
        let at = |p: usize, r: usize, c: usize| {
            f64::from(splits[(n * pixels + p) * shape.c + r * channels + c])
        };
        let mut gap = vec![0.0; channels];
        for (c, mean) in gap.iter_mut().enumerate() {
            for p in 0..pixels {
                *mean += (0..w.radix).map(|r| at(p, r, c)).sum::<f64>() / pixels as f64;
            }
        }
        let mut hidden = grouped_linear(&gap, w.fc1_weight, w.fc1_bias, w.cardinality);
        hidden.iter_mut().for_each(|h| *h = relu(*h));
        let logits = grouped_linear(&hidden, w.fc2_weight, w.fc2_bias, w.cardinality);
        let inner = channels / w.cardinality;
        for c in 0..channels {
            let logit = |r: usize| logits[(c / inner * w.radix + r) * inner + c % inner];
            let most = (0..w.radix).map(logit).fold(f64::NEG_INFINITY, larger);
            let power = |r: usize| (logit(r) - most).exp();
            let total: f64 = (0..w.radix).map(power).sum();
            let weight = |r: usize| match w.radix {
                1 => 1.0 / (1.0 + (-logit(0)).exp()),
                _ => power(r) / total,
            };
            for p in 0..pixels {
                out[(n * pixels + p) * channels + c] =
                    (0..w.radix).map(|r| at(p, r, c) * weight(r)).sum();
            }
        }
    }
    out
}

/// `torch.relu`: what is not a number stays so.
fn relu(x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) }
}

/// `torch.maximum`: NaN if either is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

fn grouped_linear(x: &[f64], weight: &[f32], bias: Option<&[f32]>, groups: usize) -> Vec<f64> {
    let inputs = x.len() / groups;
    let outputs = weight.len() / inputs;
    (0..outputs)
        .map(|o| {
            let x = &x[o / (outputs / groups) * inputs..];
            let row = &weight[o * inputs..(o + 1) * inputs];
            let sum: f64 = x.iter().zip(row).map(|(x, w)| x * f64::from(*w)).sum();
            sum + bias.map_or(0.0, |b| f64::from(b[o]))
        })
        .collect()
}
