//! One tensor of a checkpoint: where its elements lie, and how they become a candle tensor.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use super::store::{PIECE, Store};
use crate::error::{Error, Result};

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
    /// First byte of element 0 within `store`.
    pub(crate) start: usize,
    pub(crate) store: Arc<Store>,
    /// Of an 8-bit weight: what the elements of each output channel, the first axis, are multiplied with.
    pub(crate) scales: Option<Arc<[f32]>>,
}

/// Which values a tensor may have.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Values {
    /// Whatever the file has.
    Any,
    /// Numbers that stay finite in the type they are computed with.
    Finite(DType),
}

impl Values {
    /// Every f32 whose magnitude is below this stays finite; comparing with NaN is false.
    fn limit(self) -> f32 {
        match self {
            // halfway from the type's largest number to what would be the next: from there it rounds to infinity
            Self::Finite(DType::F16) => 65_520.0,
            Self::Finite(DType::BF16) => f32::from_bits(0x7f7f_8000),
            _ => f32::INFINITY,
        }
    }
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

    /// Whether it can be a weight: of a floating type, or of 8-bit integers with a scale for each output channel.
    pub fn is_weight(&self) -> bool {
        self.dtype.is_weight() || self.scales.is_some()
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Copies the elements out as f32 in row-major order, whatever they are; f64 is rounded to nearest.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the elements are not floating point, [`Error::Io`] or [`Error::Changed`]
    /// when the file cannot be read any more.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        self.f32s(Values::Any)
    }

    /// Copies the tensor to `device` as `dtype`, whatever its values are.
    ///
    /// # Errors
    /// As [`TensorEntry::to_f32`], and [`Error::Candle`] from the device.
    pub fn to_tensor(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        self.tensor(dtype, device, Values::Any)
    }

    /// As [`TensorEntry::to_f32`] for weights to compute with.
    ///
    /// # Errors
    /// [`Error::Value`] for one that is not finite, too.
    pub(crate) fn weights(&self) -> Result<Vec<f32>> {
        self.f32s(Values::Finite(DType::F32))
    }

    /// As [`TensorEntry::to_tensor`] for weights to compute with.
    ///
    /// # Errors
    /// [`Error::Value`] for one that is not finite in `dtype`, too.
    pub(crate) fn weight_tensor(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        self.tensor(dtype, device, Values::Finite(dtype))
    }

    fn tensor(&self, dtype: DType, device: &Device, values: Values) -> Result<Tensor> {
        let shape = self.shape.as_slice();
        let any = values == Values::Any;
        let tensor = match (self.dtype, dtype) {
            (ElementType::F64, DType::F64) => {
                let read = self.gather(f64::from_le_bytes, |v| any | v.is_finite())?;
                Tensor::from_vec(read, shape, device)?
            }
            (ElementType::F16, DType::F16) => {
                let read = self.gather(f16::from_le_bytes, |v| any | v.is_finite())?;
                Tensor::from_vec(read, shape, device)?
            }
            (ElementType::BF16, DType::BF16) => {
                let read = self.gather(bf16::from_le_bytes, |v| any | v.is_finite())?;
                Tensor::from_vec(read, shape, device)?
            }
            _ => Tensor::from_vec(self.f32s(values)?, shape, device)?,
        };
        Ok(tensor.to_dtype(dtype)?)
    }

    fn f32s(&self, values: Values) -> Result<Vec<f32>> {
        let (any, limit) = (values == Values::Any, values.limit());
        let fits = |v: f32| any | (v.abs() < limit);
        match self.dtype {
            ElementType::F32 if self.strides.is_none() && cfg!(target_endian = "little") => {
                self.plain(fits)
            }
            ElementType::F32 => self.gather(f32::from_le_bytes, fits),
            ElementType::F16 => self.gather(|b| f16::from_le_bytes(b).to_f32(), fits),
            ElementType::BF16 => self.gather(|b| bf16::from_le_bytes(b).to_f32(), fits),
            ElementType::F64 => {
                let wide = self.gather(f64::from_le_bytes, |v| fits(v as f32))?;
                Ok(wide.into_iter().map(|v| v as f32).collect())
            }
            ElementType::I8 if self.scales.is_some() => self.scaled(fits),
            other => Err(self.error(format!("{other} is not a floating-point type"))),
        }
    }

    /// An 8-bit weight as f32: every element times the scale of its output channel.
    fn scaled(&self, fits: impl Fn(f32) -> bool) -> Result<Vec<f32>> {
        let scales = self.scales.as_deref().unwrap_or_default();
        let q = self.gather(i8::from_le_bytes, |q| q != i8::MIN)?;
        let channel = (q.len() / scales.len().max(1)).max(1);
        let mut out = self.store.reserved(q.len(), &self.name)?;
        for ((at, q), scale) in q.chunks(channel).enumerate().zip(scales) {
            let largest = q.iter().map(|q| q.unsigned_abs()).max();
            if !matches!(largest, None | Some(0 | 127)) {
                let problem = "the largest of a channel of 8-bit weights is 127; the file is damaged: make it again with \
                               `resnest quantize`";
                let value = largest.unwrap_or_default().into();
                return Err(self.bad_value(at * channel, value, problem));
            }
            out.extend(q.iter().map(|&q| f32::from(q) * scale));
        }
        self.check(&out, 0, &fits)?;
        Ok(out)
    }

    /// The elements of a tensor of bytes.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>> {
        self.gather(u8::from_le_bytes, |_| true)
    }

    /// Reads every element with `read`, walking the strides where there are any; each must fit.
    fn gather<const N: usize, T: Copy + Into<f64>>(
        &self,
        read: impl Fn([u8; N]) -> T,
        fits: impl Fn(T) -> bool,
    ) -> Result<Vec<T>> {
        let mut out = self.store.reserved(self.elements(), &self.name)?;
        if let Some(strides) = &self.strides {
            self.gather_strided(strides, read, &mut out)?;
            self.check(&out, 0, &fits)?;
            return Ok(out);
        }
        let range = self.range::<N>(self.elements())?;
        self.store.pieces(range, &self.name, |piece| {
            let before = out.len();
            let (elements, _) = piece.as_chunks::<N>();
            out.extend(elements.iter().map(|bytes| read(*bytes)));
            // while they are in the cache
            self.check(out.get(before..).unwrap_or_default(), before, &fits)
        })?;
        Ok(out)
    }

    /// The elements as they lie in the file, read to where they stay.
    fn plain(&self, fits: impl Fn(f32) -> bool) -> Result<Vec<f32>> {
        let (elements, size) = (self.elements(), size_of::<f32>());
        let range = self.range::<4>(elements)?;
        let mut out = self.store.reserved(elements, &self.name)?;
        while out.len() < elements {
            let before = out.len();
            out.resize(elements.min(before + PIECE / size), 0.0);
            let piece = out.get_mut(before..).unwrap_or_default();
            let bytes = bytemuck::cast_slice_mut(piece);
            self.store
                .read_into(range.start + before * size, bytes, &self.name)?;
            self.check(piece, before, &fits)?;
        }
        Ok(out)
    }

    fn gather_strided<const N: usize, T>(
        &self,
        strides: &[usize],
        read: impl Fn([u8; N]) -> T,
        out: &mut Vec<T>,
    ) -> Result<()> {
        let steps = self.shape.iter().zip(strides);
        let last: usize = steps
            .map(|(d, s)| d.saturating_sub(1).saturating_mul(*s))
            .sum();
        let span = match self.elements() {
            0 => 0,
            _ => last.saturating_add(1),
        };
        let storage = self.store.read(self.range::<N>(span)?, &self.name)?;
        let (storage, _) = storage.as_chunks::<N>();
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..self.elements() {
            let at: usize = index.iter().zip(strides).map(|(i, s)| i * s).sum();
            out.push(read(*storage.get(at).ok_or_else(|| self.outside())?));
            // an odometer over the shape, last axis fastest
            for (i, size) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *size {
                    break;
                }
                *i = 0;
            }
        }
        Ok(())
    }

    /// The bytes of so many elements of `N` bytes from the first on.
    fn range<const N: usize>(&self, elements: usize) -> Result<Range<usize>> {
        let length = elements.checked_mul(N);
        let end = length.and_then(|length| self.start.checked_add(length));
        Ok(self.start..end.ok_or_else(|| self.outside())?)
    }

    /// Holds `values`, the tensor's from element `before` on, to `fits`.
    fn check<T: Copy + Into<f64>>(
        &self,
        values: &[T],
        before: usize,
        fits: &impl Fn(T) -> bool,
    ) -> Result<()> {
        // all of them, without a way out in between: many are compared at once
        if values.iter().fold(true, |all, v| all & fits(*v)) {
            return Ok(());
        }
        let wrong = values.iter().enumerate().find(|(_, v)| !fits(**v));
        wrong.map_or(Ok(()), |(at, value)| {
            let value = (*value).into();
            let problem = match value.is_finite() {
                true if self.dtype == ElementType::I8 => {
                    "8-bit weights are -127 to 127; the file is damaged: make it again with `resnest quantize`"
                }
                true => "too large for the type it is to be computed with; load it as f32",
                false => {
                    "not a finite number, and no answer of a network that has it can be; the file is damaged, \
                     or its training diverged: fetch it again or take an earlier one"
                }
            };
            Err(self.bad_value(before + at, value, problem))
        })
    }

    /// The error that the element at `at`, counted in row-major order, has a wrong value.
    pub(crate) fn bad_value(&self, mut at: usize, value: f64, problem: &'static str) -> Error {
        let mut index = vec![0; self.shape.len()];
        for (i, size) in index.iter_mut().zip(&self.shape).rev() {
            *i = at % size.max(&1);
            at /= size.max(&1);
        }
        Error::Value {
            origin: self.store.origin().into(),
            tensor: self.name.clone(),
            index,
            value,
            problem,
        }
    }

    fn outside(&self) -> Error {
        self.error("its bytes lie outside the file".into())
    }

    fn error(&self, problem: String) -> Error {
        Error::Tensor {
            origin: self.store.origin().into(),
            tensor: self.name.clone(),
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers 0 to 5 as (2, 3), of which one is replaced.
    fn entry(
        dtype: ElementType,
        at: usize,
        value: f64,
        strides: Option<Vec<usize>>,
    ) -> TensorEntry {
        let values = (0..6).map(|i| if i == at { value } else { i as f64 });
        let bytes: Vec<u8> = values
            .flat_map(|v| match dtype {
                ElementType::F64 => v.to_le_bytes().to_vec(),
                ElementType::F32 => (v as f32).to_le_bytes().to_vec(),
                ElementType::F16 => f16::from_f64(v).to_le_bytes().to_vec(),
                _ => bf16::from_f64(v).to_le_bytes().to_vec(),
            })
            .collect();
        TensorEntry {
            name: "conv1.weight".into(),
            dtype,
            shape: vec![2, 3],
            strides,
            start: 0,
            store: Arc::new(Store::memory(bytes.into(), "test")),
            scales: None,
        }
    }

    const TYPES: [(ElementType, DType); 4] = [
        (ElementType::F64, DType::F64),
        (ElementType::F32, DType::F32),
        (ElementType::F16, DType::F16),
        (ElementType::BF16, DType::BF16),
    ];

    #[test]
    fn weights_that_are_not_finite_are_named_in_every_type() {
        for ((dtype, _), (_, target)) in TYPES.iter().flat_map(|a| TYPES.map(|b| (*a, b))) {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                // transposed storage: element 4 of the storage is element [0, 2]
                for (strides, index) in [(None, [1, 1]), (Some(vec![1, 2]), [0, 2])] {
                    let entry = entry(dtype, 4, value, strides);
                    let refused = [
                        entry.weight_tensor(target, &Device::Cpu).map(drop),
                        entry.weights().map(drop),
                    ];
                    for refused in refused {
                        let error = refused.unwrap_err();
                        let Error::Value {
                            tensor,
                            index: at,
                            value: found,
                            ..
                        } = &error
                        else {
                            panic!("{error}")
                        };
                        assert_eq!((tensor.as_str(), &at[..]), ("conv1.weight", &index[..]));
                        assert!(found.is_nan() == value.is_nan() && !found.is_finite());
                    }
                    // who wants to look at such a file still can
                    assert!(!entry.to_f32().unwrap().iter().all(|v| v.is_finite()));
                    entry.to_tensor(target, &Device::Cpu).unwrap();
                }
            }
        }
    }

    #[test]
    fn every_finite_value_passes_up_to_what_the_type_can_hold() {
        for (dtype, target, fits, too_large) in [
            (
                ElementType::F32,
                DType::F32,
                f64::from(f32::MAX),
                f64::INFINITY,
            ),
            (ElementType::F16, DType::F16, 65_504.0, f64::INFINITY),
            (ElementType::F32, DType::F16, 65_519.9, 65_520.0),
            (ElementType::F32, DType::BF16, 3.396e38, 3.3962e38),
            (ElementType::F64, DType::F32, 3.402_823_5e38, 3.402_823_6e38),
            (ElementType::F64, DType::F64, f64::MAX, f64::INFINITY),
            (ElementType::F64, DType::F16, -65_519.9, -65_521.0),
        ] {
            let tensor = entry(dtype, 4, fits, None).weight_tensor(target, &Device::Cpu);
            let wide = tensor.unwrap().to_dtype(DType::F64).unwrap();
            let found = wide.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert!(
                found[4].is_finite() && found[4] * fits > 0.0,
                "{dtype} {target:?}"
            );
            let refused = entry(dtype, 4, too_large, None).weight_tensor(target, &Device::Cpu);
            let error = refused.unwrap_err();
            assert!(matches!(error, Error::Value { .. }), "{error}");
            let plain = entry(dtype, 4, too_large, None).to_tensor(target, &Device::Cpu);
            let wide = plain.unwrap().to_dtype(DType::F64).unwrap();
            let found = wide.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert!(
                found[4].is_infinite(),
                "the bound refuses only what overflows"
            );
        }
    }
}
