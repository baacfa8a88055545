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
/// When the lengths differ from the number of output channels, or do not divide the weights;
/// [`Error::NotFinite`] where a folded value is no finite number, naming what makes it so.
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
        let start = folded.len();
        folded.extend(row.iter().map(|w| (f64::from(*w) * scale) as f32));
        let bias = bias.map_or(0.0, |b| b[o]);
        let moved = f64::from(bias) - f64::from(norm.mean[o]);
        shift.push((f64::from(norm.beta[o]) + moved * scale) as f32);
        if !all_finite(&folded[start..]) || !shift[o].is_finite() {
            return Err(culprit(o, row, bias, norm));
        }
    }
    Ok((folded, shift))
}

/// Whether no value is NaN or infinite.
pub fn all_finite(values: &[f32]) -> bool {
    // One more in an exponent of ones alone carries into the sign's place; without an early end, so that
    // it is done a register at a time.
    let carried = |value: &f32| (value.to_bits() & 0x7FFF_FFFF).wrapping_add(0x0080_0000);
    let any = values.iter().fold(0, |any, value| any | carried(value));
    any >> 31 == 0
}

/// What makes the folding of a channel no finite number.
fn culprit(channel: usize, weight: &[f32], bias: f32, norm: BatchNorm) -> Error {
    let finite = |value: &&f32| !value.is_finite();
    let first = weight.iter().find(finite).copied();
    let var = norm.var[channel];
    let (gamma, beta, mean) = (norm.gamma[channel], norm.beta[channel], norm.mean[channel]);
    let found = [
        ("weight", first.unwrap_or(0.0)),
        ("bias", bias),
        ("gamma", gamma),
        ("beta", beta),
        ("mean", mean),
        ("var", var),
    ];
    let not_finite = |name, problem| Error::NotFinite {
        name,
        channel,
        problem,
    };
    if let Some((name, value)) = found.into_iter().find(|(_, value)| !value.is_finite()) {
        return not_finite(name, format!("{value} is no finite number"));
    }
    if f64::from(var) + norm.eps <= 0.0 {
        return not_finite("var", format!("{var} is no variance"));
    }
    let problem = format!(
        "too large for an f32 once multiplied by {gamma} / sqrt({var} + {})",
        norm.eps
    );
    not_finite("weight", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finite_is_what_the_standard_library_calls_so() {
        for exponent in 0..=255u32 {
            for mantissa in [0, 1, 0x40_0000, 0x7F_FFFF] {
                for sign in [0, 1 << 31] {
                    let value = f32::from_bits(sign | exponent << 23 | mantissa);
                    for at in 0..9 {
                        let mut values = [1.0; 9];
                        values[at] = value;
                        assert_eq!(all_finite(&values), value.is_finite(), "{value} at {at}");
                    }
                }
            }
        }
        assert!(all_finite(&[]));
    }
}
