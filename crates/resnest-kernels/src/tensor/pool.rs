//! Pools of tensors.

use super::op::apply;
use crate::arch::Isa;
use crate::pool::{GlobalPool, PoolSpec, global_pool, pool2d};
use crate::shape::Nhwc;
use candle_core::{Result, Tensor};

impl PoolSpec {
    /// Pools a logical (N, C, H, W) tensor.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let isa = Isa::detect()?;
        apply(x, "resnest-pool", |x, input| {
            Ok((pool2d(isa, x, input, *self)?, self.output(input)?))
        })
    }
}

impl GlobalPool {
    /// Pools a logical (N, C, H, W) tensor to (N, C).
    ///
    /// # Errors
    /// When the images are empty or the tensor is not f32 on the CPU.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        let isa = Isa::detect()?;
        let pooled = apply(x, "resnest-global-pool", |x, input| {
            Ok((
                global_pool(isa, x, input, self)?.into(),
                Nhwc::new(input.n, 1, 1, input.c),
            ))
        })?;
        pooled.flatten_from(1)
    }
}
