//! Maps weighted channel by channel and added up, by candle's operations or in one kernel.

use candle_core::{Result, Tensor};

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
        Some(residual) => (sum + residual)?.relu(),
        None => Ok(sum),
    }
}
