//! One tensor of a checkpoint: where its elements lie, and how they become a candle tensor.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use super::bytes::Bytes;
use crate::error::{Error, Result};

/// Bytes of a tensor from which it is worth a system call to give its pages back.
const RELEASE_FROM: usize = 64 * 1024;

/// Element types a checkpoint may hold. Only the floating ones can become weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the documentation
#[non_exhaustive]
pub enum ElementType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    C64,
    F8E4M3,
    F8E5M2,
}

impl ElementType {
    /// Bytes an element takes.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 | Self::C64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool | Self::F8E4M3 | Self::F8E5M2 => 1,
        }
    }

    /// Whether the type can be a weight: f64, f32, f16 or bf16.
    pub fn is_weight(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", format!("{self:?}").to_lowercase())
    }
}

/// A tensor as the checkpoint describes it. Bounds were checked when it was made.
#[derive(Debug, Clone)]
pub struct TensorEntry {
    pub(crate) name: String,
    pub(crate) dtype: ElementType,
    pub(crate) shape: Vec<usize>,
    /// Strides in elements; `None` when contiguous.
    pub(crate) strides: Option<Vec<usize>>,
    /// First byte of element 0 within `bytes`.
    pub(crate) start: usize,
    pub(crate) bytes: Arc<Bytes>,
}

impl TensorEntry {
    /// The tensor's name, prefixes such as `module.` removed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its elements in the file.
    pub fn dtype(&self) -> ElementType {
        self.dtype
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Copies the elements out as f32 in row-major order; f64 is rounded to nearest.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the elements are not floating point.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        match self.dtype {
            ElementType::F32 => self.gather(f32::from_le_bytes),
            ElementType::F16 => self.gather(|b| f16::from_le_bytes(b).to_f32()),
            ElementType::BF16 => self.gather(|b| bf16::from_le_bytes(b).to_f32()),
            ElementType::F64 => self.gather(|b| f64::from_le_bytes(b) as f32),
            other => Err(self.error(format!("{other} is not a floating-point type"))),
        }
    }

    /// Copies the tensor to `device` as `dtype`. f32 goes straight from the file's bytes to the
    /// tensor's storage; nothing else is allocated.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the elements are not floating point, [`Error::Candle`] from the device.
    pub fn to_tensor(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        let shape = self.shape.as_slice();
        let tensor = match (self.dtype, dtype) {
            (ElementType::F64, DType::F64) => {
                Tensor::from_vec(self.gather(f64::from_le_bytes)?, shape, device)?
            }
            (ElementType::F16, DType::F16) => {
                Tensor::from_vec(self.gather(f16::from_le_bytes)?, shape, device)?
            }
            (ElementType::BF16, DType::BF16) => {
                Tensor::from_vec(self.gather(bf16::from_le_bytes)?, shape, device)?
            }
            _ => Tensor::from_vec(self.to_f32()?, shape, device)?,
        };
        Ok(tensor.to_dtype(dtype)?)
    }

    /// Tells that the tensor has been read: a large one's part of a mapped file is then no longer
    /// counted as this process's memory.
    pub(crate) fn release(&self) {
        let bytes = self.elements().saturating_mul(self.dtype.size());
        if self.strides.is_none() && bytes >= RELEASE_FROM {
            self.bytes
                .release(self.start..self.start.saturating_add(bytes));
        }
    }

    /// Reads every element with `read`, walking the strides where there are any.
    fn gather<const N: usize, T>(&self, read: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        match &self.strides {
            None => self.gather_contiguous(read),
            Some(strides) => self.gather_strided(strides, read),
        }
    }

    fn gather_contiguous<const N: usize, T>(&self, read: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        let raw = self
            .elements()
            .checked_mul(N)
            .and_then(|len| self.start.checked_add(len))
            .and_then(|end| self.bytes.get(self.start..end))
            .ok_or_else(|| self.error("its bytes lie outside the file".into()))?;
        let (elements, _) = raw.as_chunks::<N>();
        Ok(elements.iter().map(|b| read(*b)).collect())
    }

    fn gather_strided<const N: usize, T>(
        &self,
        strides: &[usize],
        read: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let outside = || self.error("its bytes lie outside the file".into());
        let storage = self.bytes.get(self.start..).ok_or_else(outside)?;
        let (storage, _) = storage.as_chunks::<N>();
        let mut out = Vec::with_capacity(self.elements());
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..self.elements() {
            let at: usize = index.iter().zip(strides).map(|(i, s)| i * s).sum();
            out.push(read(*storage.get(at).ok_or_else(outside)?));
            // an odometer over the shape, last axis fastest
            for (i, size) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *size {
                    break;
                }
                *i = 0;
            }
        }
        Ok(out)
    }

    fn error(&self, problem: String) -> Error {
        Error::Tensor {
            origin: "checkpoint".into(),
            tensor: self.name.clone(),
            problem,
        }
    }
}
