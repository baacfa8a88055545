//! The specification: every operation as its obvious loop, accumulated in f64.
//!
//! Nothing here is fast and nothing in the product calls it; tests and doubts do.

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
                    let mut sum = conv_at(x, input, spec, weight, [n, oy, ox, o]);
                    sum += bias.map_or(0.0, |b| f64::from(b[o]));
                    sum += residual.map_or(0.0, |r| f64::from(r[out.len()]));
                    out.push(if relu { sum.max(0.0) } else { sum });
                }
            }
        }
    }
    out
}

fn conv_at(x: &[f32], input: Nhwc, spec: &ConvSpec, weight: &[f32], at: [usize; 4]) -> f64 {
    let [n, oy, ox, o] = at;
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
