//! Squeeze-and-excitation: each channel weighted by the means of all channels.
//!
//! Hu et al., *Squeeze-and-Excitation Networks*, [arXiv:1709.01507]; timm's [`layers/squeeze_excite.py`].
//!
//! [arXiv:1709.01507]: https://arxiv.org/abs/1709.01507
//! [`layers/squeeze_excite.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/squeeze_excite.py

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::ops::sigmoid;

use super::act::Act;
use super::conv::{Conv2d, Conv2dConfig};
use super::conv_bn_act::conv_act;
use super::gate::ChannelGate;
use super::pool::GlobalAvg;
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::helpers::make_divisible;
use crate::trace::Trace;

/// `SEModule`: a weight for each channel, from the means of all channels.
#[derive(Clone, Debug)]
pub(crate) struct SeModule {
    mean: GlobalAvg,
    fc1: Conv2d,
    fc2: Conv2d,
    path: String,
}

/// Hidden channels: a multiple of 8 near `chans * rd_ratio`, which may be rounded down without limit.
pub(crate) fn rd_channels(chans: usize, rd_ratio: f64) -> usize {
    make_divisible(chans as f64 * rd_ratio, 8, 8, 0.0)
}

impl SeModule {
    /// A gate for maps of `chans` channels with `rd_channels` hidden ones.
    pub(crate) fn new(chans: usize, rd_channels: usize, vb: VarBuilder) -> Result<Self> {
        let fc = Conv2dConfig {
            bias: true,
            ..Conv2dConfig::new(1, 1)
        };
        Ok(Self {
            mean: GlobalAvg::default(),
            fc1: Conv2d::new(chans, rd_channels, fc, vb.pp("fc1"))?,
            fc2: Conv2d::new(rd_channels, chans, fc, vb.pp("fc2"))?,
            path: vb.prefix(),
        })
    }

    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.mean.fuse();
        self.fc1.fuse(None, fuser)?;
        self.fc2.fuse(None, fuser)
    }

    /// Bytes of weights held.
    pub(crate) fn bytes(&self) -> usize {
        self.fc1.bytes() + self.fc2.bytes()
    }
}

impl ChannelGate for SeModule {
    fn path(&self) -> &str {
        &self.path
    }

    fn mean(&self) -> &GlobalAvg {
        &self.mean
    }

    /// From 0 to 1.
    fn gate(&self, means: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let (n, c) = means.dims2()?;
        let hidden = means.reshape((n, c, 1, 1))?;
        let hidden = conv_act(&self.fc1, Act::Relu, &hidden, trace)?;
        let logits = self.fc2.forward(&hidden, trace)?;
        let gate = sigmoid(&logits.flatten_from(1)?)?;
        trace.step(&self.path, "sigmoid", &gate);
        Ok(gate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by timm's own `SEModule(c, rd_ratio=r).fc1.out_channels`.
    #[test]
    fn hidden_widths_are_timms() {
        let sixteenth = [64, 256, 512, 1024, 2048, 48, 96, 192].map(|c| rd_channels(c, 1.0 / 16.0));
        assert_eq!(sixteenth, [8, 16, 32, 64, 128, 8, 8, 16]);
        let quarter = [64, 256, 2048, 44, 52].map(|c| rd_channels(c, 0.25));
        assert_eq!(quarter, [16, 64, 512, 8, 16]);
    }
}
