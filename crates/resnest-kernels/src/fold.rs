//! Folding a norm into the convolution before it.

use crate::error::{Error, check_len};

/// A batch norm at inference.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// `weight`
    pub gamma: &'a [f32],
    /// `bias`
    pub beta: &'a [f32],
    /// `running_mean`
    pub mean: &'a [f32],
    /// `running_var`
    pub var: &'a [f32],
    /// Added to the variance.
    pub eps: f64,
}

/// Weights and bias of the convolution that equals `norm(conv(x))`, folded in f64.
///
/// # Errors
/// When the lengths differ from the number of output channels, or do not divide the weights.
pub fn fold_batch_norm(
    weight: &[f32],
    bias: Option<&[f32]>,
    norm: BatchNorm,
) -> Result<(Vec<f32>, Vec<f32>), Error> {
    let channels = norm.gamma.len();
    for (name, values) in [("beta", norm.beta), ("mean", norm.mean), ("var", norm.var)] {
        check_len(name, values.len(), channels)?;
    }
    if let Some(bias) = bias {
        check_len("bias", bias.len(), channels)?;
    }
    if channels == 0 || !weight.len().is_multiple_of(channels) {
        let problem = format!("{} weights for {channels} channels", weight.len());
        return Err(Error::spec("weight", problem));
    }
    let mut folded = Vec::with_capacity(weight.len());
    let mut shift = Vec::with_capacity(channels);
    for (o, row) in weight.chunks_exact(weight.len() / channels).enumerate() {
        let scale = f64::from(norm.gamma[o]) / (f64::from(norm.var[o]) + norm.eps).sqrt();
        folded.extend(row.iter().map(|w| (f64::from(*w) * scale) as f32));
        let bias = bias.map_or(0.0, |b| f64::from(b[o]));
        shift.push((f64::from(norm.beta[o]) + (bias - f64::from(norm.mean[o])) * scale) as f32);
    }
    Ok((folded, shift))
}
