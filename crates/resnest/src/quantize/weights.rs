//! Weights in 8 bits, and what their rounding moves the means of a layer by.

use resnest_model::ConvSpec;

use super::network::{Tensors, Values};

/// PyTorch's default, with which timm builds all norms of these networks.
const NORM_EPS: f64 = 1e-5;
/// The largest magnitude of a weight.
const LARGEST: f32 = 127.0;

/// A weight in 8 bits, (out, in / groups, k, k), and the scale of each output channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantized {
    pub q: Vec<i8>,
    pub scales: Vec<f32>,
}

impl Quantized {
    /// Rounds `values`, of `channels` output channels: the largest of each becomes 127.
    pub(super) fn of(values: &[f32], channels: usize) -> Self {
        let each = (values.len() / channels.max(1)).max(1);
        let (mut q, mut scales) = (
            Vec::with_capacity(values.len()),
            Vec::with_capacity(channels),
        );
        for channel in values.chunks(each) {
            let largest = channel.iter().fold(0f32, |most, v| most.max(v.abs()));
            let scale = largest / LARGEST;
            // Whatever is smaller than what f32 can divide is nothing.
            let (scale, times) = match scale.is_normal() {
                true => (scale, 1.0),
                false => (1.0, 0.0),
            };
            let rounded = |v: &f32| {
                (v * times / scale)
                    .round_ties_even()
                    .clamp(-LARGEST, LARGEST)
            };
            q.extend(channel.iter().map(|v| rounded(v) as i8));
            scales.push(scale);
        }
        Self { q, scales }
    }

    /// What it stands for.
    pub(super) fn values(&self) -> Vec<f32> {
        let each = (self.q.len() / self.scales.len().max(1)).max(1);
        let channels = self.q.chunks(each).zip(&self.scales);
        channels
            .flat_map(|(channel, scale)| channel.iter().map(move |&q| f32::from(q) * scale))
            .collect()
    }
}

/// The mean of every output channel of a convolution, without bias, whose taps meet these means (`[in][tap]`).
pub(super) fn output_means(spec: &ConvSpec, weight: &[f32], means: &[f64]) -> Vec<f64> {
    let taps = spec.kernel * spec.kernel;
    let inputs = spec.in_channels / spec.groups.max(1);
    let outputs = (spec.out_channels / spec.groups.max(1)).max(1);
    weight
        .chunks((inputs * taps).max(1))
        .enumerate()
        .map(|(channel, weight)| {
            let first = channel / outputs * inputs * taps;
            let means = means.iter().skip(first);
            weight
                .iter()
                .zip(means)
                .map(|(w, m)| f64::from(*w) * m)
                .sum()
        })
        .collect()
}

/// Takes `moved`, by which the means of a convolution's outputs have changed, off again: from the bias of the norm that
/// follows, or from the convolution's own.
pub(super) fn correct(
    tensors: &mut Tensors,
    conv: &str,
    norm: Option<&str>,
    moved: &[f64],
) -> bool {
    let Some(norm) = norm else {
        return match tensors.get_mut(&format!("{conv}.bias")) {
            Some(bias) => {
                subtract(bias, moved.iter().copied());
                true
            }
            None => false,
        };
    };
    let values = |part: &str| {
        tensors
            .get(&format!("{norm}.{part}"))
            .map(|t| t.values.clone())
    };
    let (Some(gamma), Some(variance)) = (values("weight"), values("running_var")) else {
        return false;
    };
    let factors = gamma.iter().zip(&variance);
    let factors = factors.map(|(g, v)| f64::from(*g) / (f64::from(*v) + NORM_EPS).sqrt());
    match tensors.get_mut(&format!("{norm}.bias")) {
        Some(bias) => {
            subtract(
                bias,
                factors.zip(moved).map(|(factor, moved)| factor * moved),
            );
            true
        }
        None => false,
    }
}

fn subtract(bias: &mut Values, moved: impl Iterator<Item = f64>) {
    for (bias, moved) in bias.values.iter_mut().zip(moved) {
        *bias = (f64::from(*bias) - moved) as f32;
    }
}

/// Divides what a norm puts out by `factors`, one for each channel, and multiplies the weights that meet it with them: the
/// same network, whose channels are of other sizes.
pub(super) fn rescale(
    tensors: &mut Tensors,
    norm: &str,
    next: &str,
    spec: &ConvSpec,
    factors: &[f32],
) {
    for part in ["weight", "bias"] {
        if let Some(t) = tensors.get_mut(&format!("{norm}.{part}")) {
            t.values.iter_mut().zip(factors).for_each(|(v, f)| *v /= f);
        }
    }
    let taps = spec.kernel * spec.kernel;
    let inputs = spec.in_channels / spec.groups.max(1);
    let outputs = (spec.out_channels / spec.groups.max(1)).max(1);
    let Some(weight) = tensors.get_mut(&format!("{next}.weight")) else {
        return;
    };
    for (row, values) in weight.values.chunks_mut(taps.max(1)).enumerate() {
        let (out, input) = (row / inputs.max(1), row % inputs.max(1));
        let channel = out / outputs * inputs + input;
        let factor = factors.get(channel).copied().unwrap_or(1.0);
        values.iter_mut().for_each(|v| *v *= factor);
    }
}

/// The largest weight that meets each input channel.
pub(super) fn largest_by_input(spec: &ConvSpec, weight: &[f32]) -> Vec<f32> {
    let taps = spec.kernel * spec.kernel;
    let inputs = (spec.in_channels / spec.groups.max(1)).max(1);
    let outputs = (spec.out_channels / spec.groups.max(1)).max(1);
    let mut largest = vec![0f32; spec.in_channels];
    for (row, values) in weight.chunks(taps.max(1)).enumerate() {
        let (out, input) = (row / inputs, row % inputs);
        if let Some(most) = largest.get_mut(out / outputs * inputs + input) {
            *most = values.iter().fold(*most, |most, v| most.max(v.abs()));
        }
    }
    largest
}
