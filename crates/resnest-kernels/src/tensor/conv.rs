//! Convolutions of tensors.

use super::op::{add_to, apply, apply_with};
use super::storage::is_apart;
use crate::conv::{ConvInput, ConvOutput, ConvPair, Epilogue, PackedConv};
use crate::error::Error;
use crate::shape::Nhwc;
use candle_core::{Device, Result, Tensor};
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

/// A map (N, C, H, W) that is added to a result of its shape.
#[derive(Clone, Debug)]
pub enum Residual<'a> {
    /// Others hold it too and may still read it.
    Borrowed(&'a Tensor),
    /// Nobody else holds it: the result is written over it where that can be done, which saves the memory of a map
    /// and the time to read it. It must be the only tensor of its memory: a map that an operation has just put out.
    Owned(Tensor),
}

impl Deref for Residual<'_> {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        match self {
            Residual::Borrowed(map) => map,
            Residual::Owned(map) => map,
        }
    }
}

impl Residual<'_> {
    /// The map to be written over by `conv`, if that can add to what is there without changing `x`.
    pub(super) fn over(&self, conv: &PackedConv, x: &Tensor) -> Result<Option<&Tensor>> {
        match self {
            Residual::Owned(map) if conv.adds_in_place() && is_apart(map, x)? => Ok(Some(map)),
            _ => Ok(None),
        }
    }
}

/// Fails unless a residual has the shape of the result.
pub(super) fn check_residual(residual: Nhwc, output: Nhwc) -> std::result::Result<(), Error> {
    if residual == output {
        return Ok(());
    }
    let problem = format!("has shape {residual:?}, the result {output:?}");
    Err(Error::spec("residual", problem))
}

impl PackedConv {
    /// Convolves a logical (N, C, H, W) tensor; adds `residual` if there is one, then ReLU if
    /// `relu`. An (N, C) tensor is one of single pixels, and gives (N, out): a linear layer.
    ///
    /// # Errors
    /// When shapes do not fit or a tensor is not f32 on the CPU.
    pub fn forward(&self, x: &Tensor, residual: Option<Residual>, relu: bool) -> Result<Tensor> {
        if x.rank() == 2 {
            let pixels = x.unsqueeze(2)?.unsqueeze(3)?;
            return self.forward(&pixels, residual, relu)?.flatten_from(1);
        }
        if let Some(residual) = &residual
            && let Some(map) = residual.over(self, x)?
        {
            self.add_to(map, x, relu)?;
            return Ok(map.clone());
        }
        let residual = residual.as_deref();
        apply_with(x, residual, "resnest-conv", |x, input, residual| {
            let epilogue = Epilogue {
                relu,
                residual,
                sums: None,
            };
            let y = self.run(ConvInput::Map(x, input), ConvOutput::New, epilogue)?;
            Ok((y, self.spec().output(input)?))
        })
    }

    /// Adds the convolution of `x` to `map` where it lies.
    fn add_to(&self, map: &Tensor, x: &Tensor, relu: bool) -> Result<()> {
        add_to(map, x, "resnest-conv-onto", |x, input, map, shape| {
            check_residual(shape, self.spec().output(input)?)?;
            let epilogue = Epilogue {
                relu,
                ..Epilogue::default()
            };
            self.run(ConvInput::Map(x, input), ConvOutput::AddTo(map), epilogue)?;
            Ok(())
        })
    }

    /// The same without a residual, and the mean of the result over height and width, (N, C), made from sums that
    /// the kernels take as they write.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward_with_means(&self, x: &Tensor, relu: bool) -> Result<(Tensor, Tensor)> {
        let means = Mutex::new(Vec::new());
        let y = apply(x, "resnest-conv-means", |x, input| {
            let output = self.spec().output(input)?;
            let mut sums = vec![0.0; output.n * output.c];
            let epilogue = Epilogue {
                relu,
                residual: None,
                sums: Some(&mut sums),
            };
            let y = self.run(ConvInput::Map(x, input), ConvOutput::New, epilogue)?;
            let scale = 1.0 / (output.h * output.w) as f32;
            sums.iter_mut().for_each(|sum| *sum *= scale);
            *means.lock().unwrap_or_else(PoisonError::into_inner) = sums;
            Ok((y, output))
        })?;
        let (n, c, ..) = y.dims4()?;
        let means = means.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((y, Tensor::from_vec(means, (n, c), &Device::Cpu)?))
    }
}

impl ConvPair<'_> {
    /// Both convolutions of a logical (N, C, H, W) tensor, each with ReLU if its `relu` says so.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward(&self, x: &Tensor, relu: [bool; 2]) -> Result<Tensor> {
        apply(x, "resnest-conv-conv", |x, input| {
            Ok((self.run(x, input, relu)?, self.output(input)?))
        })
    }
}
