//! Split attention and selective kernels of tensors.

use super::conv::{Residual, check_residual};
use super::op::{add_to, apply, apply_with};
use crate::attention::PackedSplitAttention;
use crate::conv::{ConvOutput, Epilogue, PackedConv};
use crate::shape::Nhwc;
use candle_core::{Result, Tensor};

impl PackedSplitAttention {
    /// timm's `SplitAttn.forward` on a logical (N, C, H, W) tensor.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        apply(x, "resnest-split-attention", |x, input| {
            Ok((self.run(x, input)?, self.output(input)?))
        })
    }

    /// The weights alone that `forward` gives the splits: (N, C, H, W) => (N, radix, channels).
    /// Costs as much as `forward`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn attention(&self, x: &Tensor) -> Result<Tensor> {
        let weights = apply(x, "resnest-attention", |x, input| {
            let width = self.output(input)?.c * self.radix();
            Ok((
                self.run_attention(x, input)?.into(),
                Nhwc::new(input.n, 1, 1, width),
            ))
        })?;
        let (n, width, ..) = weights.dims4()?;
        weights.reshape((n, self.radix(), width / self.radix()))
    }

    /// The same followed by the convolution `next` (plus `residual`, then ReLU if `relu`), in one
    /// operation: cheaper than the two, with the same values.
    ///
    /// # Errors
    /// When shapes do not fit or a tensor is not f32 on the CPU.
    pub fn forward_then(
        &self,
        x: &Tensor,
        next: &PackedConv,
        residual: Option<Residual>,
        relu: bool,
    ) -> Result<Tensor> {
        if let Some(residual) = &residual
            && let Some(map) = residual.over(next, x)?
        {
            self.add_to(map, x, next, relu)?;
            return Ok(map.clone());
        }
        let residual = residual.as_deref();
        apply_with(
            x,
            residual,
            "resnest-attention-conv",
            |x, input, residual| {
                let output = next.spec().output(self.output(input)?)?;
                let epilogue = Epilogue {
                    relu,
                    residual,
                    sums: None,
                };
                Ok((
                    self.run_then(x, input, next, ConvOutput::New, epilogue)?,
                    output,
                ))
            },
        )
    }

    /// Adds what comes of `x` to `map` where it lies.
    fn add_to(&self, map: &Tensor, x: &Tensor, next: &PackedConv, relu: bool) -> Result<()> {
        add_to(
            map,
            x,
            "resnest-attention-conv-onto",
            |x, input, map, shape| {
                check_residual(shape, next.spec().output(self.output(input)?)?)?;
                let epilogue = Epilogue {
                    relu,
                    ..Epilogue::default()
                };
                self.run_then(x, input, next, ConvOutput::AddTo(map), epilogue)?;
                Ok(())
            },
        )
    }
}
