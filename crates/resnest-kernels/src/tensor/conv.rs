//! Convolutions of tensors.

use super::op::{InWords, add_to, apply, apply_in, apply_with};
use super::storage::is_apart;
use crate::conv::{ConvInput, ConvOutput, ConvPair, Epilogue, PackedConv, WordFormat};
use crate::error::Error;
use crate::memory::buffer::words;
use crate::shape::Nhwc;
use candle_core::{DType, Device, Result, Tensor};
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
    /// How it reads `x`: words, if another convolution has [rounded it](Self::forward_for), else values.
    pub(super) fn reads(&self, x: &Tensor) -> InWords {
        InWords {
            input: x.dtype() == DType::U32 && self.word_format().is_some(),
            output: false,
        }
    }

    /// The input of an operation that reads it so.
    pub(super) fn input<'a>(
        &self,
        x: &'a [f32],
        shape: Nhwc,
        read: InWords,
    ) -> (ConvInput<'a>, Nhwc) {
        if !read.input {
            return (ConvInput::Map(x, shape), shape);
        }
        // Other numbers of words are refused: they are not those of so many channels.
        let words_of_pixel = self.word_format().map(WordFormat::pixel_words);
        let c = match words_of_pixel == Some(shape.c) {
            true => self.spec().in_channels,
            false => 0,
        };
        let shape = Nhwc { c, ..shape };
        (ConvInput::Words(words(x), shape), shape)
    }

    /// Convolves as [`forward`](Self::forward) for the convolution `next` alone, which takes the result in the place of the
    /// map: rounded to the words that `next` reads where they can agree on that
    /// ([`rounds_for`](Self::rounds_for)), which changes no value, else that map.
    ///
    /// # Errors
    /// As `forward`.
    pub fn forward_for(&self, x: &Tensor, relu: bool, next: &PackedConv) -> Result<Tensor> {
        let Some(format) = next.word_format().filter(|_| self.rounds_for(next)) else {
            return self.forward(x, None, relu);
        };
        let read = InWords {
            output: true,
            ..self.reads(x)
        };
        apply_in(x, "resnest-conv-for", read, |x, shape| {
            let (input, shape) = self.input(x, shape, read);
            let epilogue = Epilogue {
                relu,
                ..Epilogue::default()
            };
            let y = self.run(input, ConvOutput::For(format), epilogue)?;
            let output = self.spec().output(shape)?;
            let c = format.pixel_words();
            Ok((y, Nhwc { c, ..output }))
        })
    }

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
        let (residual, read) = (residual.as_deref(), self.reads(x));
        let name = ("resnest-conv", read);
        apply_with(x, residual, name, |x, shape, residual| {
            let (input, shape) = self.input(x, shape, read);
            let epilogue = Epilogue {
                relu,
                residual,
                sums: None,
            };
            let y = self.run(input, ConvOutput::New, epilogue)?;
            Ok((y, self.spec().output(shape)?))
        })
    }

    /// Adds the convolution of `x` to `map` where it lies.
    fn add_to(&self, map: &Tensor, x: &Tensor, relu: bool) -> Result<()> {
        let read = self.reads(x);
        add_to(
            map,
            x,
            ("resnest-conv-onto", read),
            |x, input, map, shape| {
                let (x, input) = self.input(x, input, read);
                check_residual(shape, self.spec().output(input)?)?;
                let epilogue = Epilogue {
                    relu,
                    ..Epilogue::default()
                };
                self.run(x, ConvOutput::AddTo(map), epilogue)?;
                Ok(())
            },
        )
    }

    /// The same without a residual, and the mean of the result over height and width, (N, C), made from sums that
    /// the kernels take as they write.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward_with_means(&self, x: &Tensor, relu: bool) -> Result<(Tensor, Tensor)> {
        let means = Mutex::new(Vec::new());
        let read = self.reads(x);
        let y = apply_in(x, "resnest-conv-means", read, |x, input| {
            let (x, input) = self.input(x, input, read);
            let output = self.spec().output(input)?;
            let mut sums = vec![0.0; output.n * output.c];
            let epilogue = Epilogue {
                relu,
                residual: None,
                sums: Some(&mut sums),
            };
            let y = self.run(x, ConvOutput::New, epilogue)?;
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
