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

/// Takes `moved`, by which the means of a convolution's outputs have changed, off again: from the bias of the batch norm that
/// follows, or from the convolution's own. Where there is neither, nothing can be done.
pub(super) fn correct(tensors: &mut Tensors, conv: &str, norm: Option<&str>, moved: &[f64]) {
    let Some(norm) = norm else {
        if let Some(bias) = tensors.get_mut(&format!("{conv}.bias")) {
            subtract(bias, moved.iter().copied());
        }
        return;
    };
    let values = |part: &str| {
        tensors
            .get(&format!("{norm}.{part}"))
            .map(|t| t.values.clone())
    };
    let (Some(gamma), Some(variance)) = (values("weight"), values("running_var")) else {
        return;
    };
    let factors = gamma.iter().zip(&variance);
    let factors = factors.map(|(g, v)| f64::from(*g) / (f64::from(*v) + NORM_EPS).sqrt());
    if let Some(bias) = tensors.get_mut(&format!("{norm}.bias")) {
        subtract(
            bias,
            factors.zip(moved).map(|(factor, moved)| factor * moved),
        );
    }
}

fn subtract(bias: &mut Values, moved: impl Iterator<Item = f64>) {
    for (bias, moved) in bias.values.iter_mut().zip(moved) {
        *bias = (f64::from(*bias) - moved) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_every_channel_is_127_and_the_rest_is_rounded_to_even() {
        let weight = [
            [1.0, -2.0, 0.5 * 2.0 / 127.0, 1.5 * 2.0 / 127.0],
            [0.0; 4],
            [1e-30, 1e-31, -1e-30, 0.0],
            [1e-44, 0.0, 0.0, 0.0], // smaller than what a scale can be
        ];
        let quantized = Quantized::of(weight.as_flattened(), 4);
        assert_eq!(quantized.q[..4], [64, -127, 0, 2]);
        assert_eq!(quantized.q[4..8], [0; 4]);
        assert_eq!(quantized.q[8..12], [127, 13, -127, 0]);
        assert_eq!(quantized.q[12..], [0; 4]);
        assert_eq!(quantized.scales, [2.0 / 127.0, 1.0, 1e-30 / 127.0, 1.0]);
        let values = quantized.values();
        assert_eq!(values[..2], [64.0 * (2.0 / 127.0), -127.0 * (2.0 / 127.0)]);
    }

    #[test]
    fn means_of_outputs_see_the_groups_and_the_taps() {
        // Two groups of two inputs and one output, four taps: every mean a power of ten of its own.
        let spec = ConvSpec::new(4, 2, 2).groups(2);
        let means: Vec<f64> = (0..16).map(|i| 10f64.powi(i)).collect();
        let weight: Vec<f32> = (0..16u8).map(|i| f32::from(i % 8 + 1)).collect();
        let found = output_means(&spec, &weight, &means);
        assert_eq!(found, [87_654_321.0, 8_765_432_100_000_000.0]);
    }
}
