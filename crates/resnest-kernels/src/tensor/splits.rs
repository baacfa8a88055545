//! Convolutions over the splits of a tensor.

use super::op::apply;
use crate::splits::SplitConvs;
use candle_core::{Result, Tensor};

impl SplitConvs<'_> {
    /// The convolutions over the splits of a logical (N, splits·width, H, W) tensor, side by side.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        apply(x, "resnest-splits", |x, input| {
            Ok((self.run(x, input)?, self.output(input)?))
        })
    }
}
