//! Maps weighted channel by channel and added up: what the channel attentions have in common.

use candle_core::{Result, Tensor};

use super::act::Act;
use super::conv::Conv2d;
use super::conv_bn_act::conv_norm_act;
use super::nan::relu;
use super::norm::Normalise;
use super::pool::GlobalAvg;
use crate::trace::Trace;

/// A channel attention: weights from the means of all channels.
pub(crate) trait ChannelGate {
    /// Its name in the checkpoint.
    fn path(&self) -> &str;

    /// The pool that gives the means of a map.
    fn mean(&self) -> &GlobalAvg;

    /// The means (N, C) → weights (N, C).
    fn gate(&self, means: &Tensor, trace: &mut Trace) -> Result<Tensor>;
}

/// The end of a residual block with an attention: `y = act(norm(conv(x)))`, then
/// `relu(y * gate(mean(y)) + shortcut)`.
pub(crate) fn conv_norm_act_gate_add_relu(
    conv: &Conv2d,
    norm: &impl Normalise,
    act: Act,
    attn: &impl ChannelGate,
    shortcut: &Tensor,
    x: &Tensor,
    trace: &mut Trace,
) -> Result<Tensor> {
    let fused = conv.packed().filter(|_| norm.foldable().is_some());
    let y = match fused {
        Some(kernel) => {
            let (y, means) = conv.forward_with_means(kernel, act, x, trace)?;
            let gates = attn.gate(&means, trace)?;
            resnest_kernels::gate_add_relu(y, &gates, shortcut)?
        }
        None => {
            let y = conv_norm_act(conv, norm, act, x, trace)?;
            let means = attn.mean().forward(&y, attn.path(), trace)?;
            let gates = attn.gate(&means, trace)?.unsqueeze(1)?; // (N, 1, C)
            gated_sum(conv.packed().is_some(), &[&y], &gates, Some(shortcut))?
        }
    };
    trace.step(attn.path(), "times the weights, + shortcut, relu", &y);
    Ok(y)
}

/// `relu(Σ parts[p] · gates[:, p] + residual)`, and without a residual the sum alone. `parts` are (N,
/// C, H, W), `gates` (N, parts, C). `fused`: by a kernel, f32 on the CPU only.
pub(crate) fn gated_sum(
    fused: bool,
    parts: &[&Tensor],
    gates: &Tensor,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    if fused {
        return resnest_kernels::gated_sum(parts, gates, residual, residual.is_some());
    }
    let (n, _, c) = gates.dims3()?;
    let weighted = |(p, part): (usize, &&Tensor)| {
        let gate = gates.narrow(1, p, 1)?.reshape((n, c, 1, 1))?;
        part.broadcast_mul(&gate)
    };
    let mut weighted = parts.iter().enumerate().map(weighted);
    let Some(first) = weighted.next() else {
        candle_core::bail!("there is nothing to weigh");
    };
    let sum = weighted.try_fold(first?, |sum, part| sum + part?)?;
    match residual {
        Some(residual) => relu(&(sum + residual)?),
        None => Ok(sum),
    }
}
