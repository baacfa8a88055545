//! Split attention and selective kernels of tensors.

use super::conv::{Residual, check_residual};
use super::op::{InWords, add_to, apply_in, apply_with};
use crate::attention::PackedSplitAttention;
use crate::conv::{ConvInput, ConvOutput, Epilogue, PackedConv};
use crate::shape::Nhwc;
use candle_core::{Result, Tensor};

impl PackedSplitAttention {
    /// The convolution that makes all splits, for which another one can [round](PackedConv::forward_for).
    pub fn conv(&self) -> Option<&PackedConv> {
        let mut convs = self.convs();
        convs.next().filter(|_| convs.next().is_none())
    }

    fn reads(&self, x: &Tensor) -> InWords {
        self.conv().map_or(InWords::default(), |conv| conv.reads(x))
    }

    fn input<'a>(&self, x: &'a [f32], shape: Nhwc, read: InWords) -> (ConvInput<'a>, Nhwc) {
        match self.conv() {
            Some(conv) => conv.input(x, shape, read),
            None => (ConvInput::Map(x, shape), shape),
        }
    }

    /// timm's `SplitAttn.forward` on a logical (N, C, H, W) tensor.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let read = self.reads(x);
        apply_in(x, "resnest-split-attention", read, |x, shape| {
            let (x, input) = self.input(x, shape, read);
            Ok((self.run_input(x)?, self.output(input)?))
        })
    }

    /// The weights alone that `forward` gives the splits: (N, C, H, W) => (N, radix, channels).
    /// Costs as much as `forward`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn attention(&self, x: &Tensor) -> Result<Tensor> {
        let read = self.reads(x);
        let weights = apply_in(x, "resnest-attention", read, |x, input| {
            let (x, input) = self.input(x, input, read);
            let width = self.output(input)?.c * self.radix();
            Ok((
                self.run_attention(x)?.into(),
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
        let (residual, read) = (residual.as_deref(), self.reads(x));
        apply_with(
            x,
            residual,
            ("resnest-attention-conv", read),
            |x, input, residual| {
                let (x, input) = self.input(x, input, read);
                let output = next.spec().output(self.output(input)?)?;
                let epilogue = Epilogue {
                    relu,
                    residual,
                    sums: None,
                };
                Ok((self.run_then(x, next, ConvOutput::New, epilogue)?, output))
            },
        )
    }

    /// Adds what comes of `x` to `map` where it lies.
    fn add_to(&self, map: &Tensor, x: &Tensor, next: &PackedConv, relu: bool) -> Result<()> {
        let read = self.reads(x);
        add_to(
            map,
            x,
            ("resnest-attention-conv-onto", read),
            |x, input, map, shape| {
                let (x, input) = self.input(x, input, read);
                check_residual(shape, next.spec().output(self.output(input)?)?)?;
                let epilogue = Epilogue {
                    relu,
                    ..Epilogue::default()
                };
                self.run_then(x, next, ConvOutput::AddTo(map), epilogue)?;
                Ok(())
            },
        )
    }
}
