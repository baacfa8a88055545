//! Efficient channel attention: each channel weighted by the means of its neighbours.
//!
//! Wang et al., *ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks*, [arXiv:1910.03151];
//! timm's [`layers/eca.py`].
//!
//! [arXiv:1910.03151]: https://arxiv.org/abs/1910.03151
//! [`layers/eca.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/eca.py

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::ops::sigmoid;

use super::gate::ChannelGate;
use super::pool::GlobalAvg;
use crate::trace::Trace;

/// `EcaModule`: a weight for each channel, from the means of its neighbours.
#[derive(Clone, Debug)]
pub(crate) struct EcaModule {
    mean: GlobalAvg,
    conv: Tensor, // (1, 1, k)
    kernel: usize,
    path: String,
}

/// Taps over the channels: the odd number at or above `(log2(chans) + 1) / 2`, at least 3.
fn kernel_size(chans: usize) -> usize {
    let t = (((chans as f64).ln() / 2f64.ln() + 1.0).abs() / 2.0) as usize;
    let odd = if t % 2 == 1 { t } else { t + 1 };
    odd.max(3)
}

impl EcaModule {
    /// A gate for maps of `chans` channels (before any pruning).
    pub(crate) fn new(chans: usize, vb: VarBuilder) -> Result<Self> {
        let kernel = kernel_size(chans);
        Ok(Self {
            mean: GlobalAvg::default(),
            conv: vb.pp("conv").get((1, 1, kernel), "weight")?,
            kernel,
            path: vb.prefix(),
        })
    }

    pub(crate) fn fuse(&mut self) {
        self.mean.fuse();
    }
}

impl ChannelGate for EcaModule {
    fn path(&self) -> &str {
        &self.path
    }

    fn mean(&self) -> &GlobalAvg {
        &self.mean
    }

    /// From 0 to 1.
    fn gate(&self, means: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let chans = means.dim(1)?;
        let padded = means.pad_with_zeros(1, self.kernel / 2, self.kernel / 2)?;
        let conv = self.conv.reshape((self.kernel, 1))?;
        let mut sum = means.zeros_like()?;
        for tap in 0..self.kernel {
            let weight = conv.narrow(0, tap, 1)?; // (1, 1)
            sum = (sum + padded.narrow(1, tap, chans)?.broadcast_mul(&weight)?)?;
        }
        trace.step(&self.path, "conv over channels", &sum);
        let gate = sigmoid(&sum)?;
        trace.step(&self.path, "sigmoid", &gate);
        Ok(gate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by timm's own `EcaModule(c).conv.kernel_size`.
    #[test]
    fn kernels_are_timms() {
        let chans = [4, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];
        assert_eq!(chans.map(kernel_size), [3, 3, 3, 3, 5, 5, 5, 5, 7, 7]);
    }
}
