//! candle's custom operations from functions on slices.

use super::storage::{Values, nhwc, nhwc_mut, words_as_values};
use crate::error::Error;
use crate::memory::map::Map;
use crate::shape::Nhwc;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, InplaceOp2, Layout, Result, Shape, Tensor, bail,
};
use std::sync::OnceLock;

/// Where an operation's map lies in the vector that it returns, and its shape: candle's operations
/// return no more than a storage.
#[derive(Default)]
pub(super) struct Place(OnceLock<(usize, Nhwc)>);

/// Whether an operation reads, and puts out, words instead of values: maps between two convolutions of low precision.
#[derive(Clone, Copy, Default)]
pub(super) struct InWords {
    pub input: bool,
    pub output: bool,
}

impl InWords {
    fn read<'a>(self, storage: &'a CpuStorage, layout: &Layout) -> Result<(Values<'a>, Nhwc)> {
        match self.input {
            true => words_as_values(storage, layout),
            false => nhwc(storage, layout),
        }
    }
}

impl Place {
    /// Notes where a map lies and gives its vector away.
    pub fn note(&self, map: Map, shape: Nhwc) -> Vec<f32> {
        let (values, start) = map.into_parts();
        self.0.get_or_init(|| (start, shape));
        values
    }

    /// The same as a one-dimensional storage.
    fn store(&self, map: Map, shape: Nhwc, words: InWords) -> (CpuStorage, Shape) {
        if words.output {
            let (words, start) = map.into_words();
            self.0.get_or_init(|| (start, shape));
            let len = Shape::from(words.len());
            return (CpuStorage::U32(words), len);
        }
        let values = self.note(map, shape);
        let len = Shape::from(values.len());
        (CpuStorage::F32(values), len)
    }

    /// The map in that vector, as a logical (N, C, H, W) view.
    pub fn view(&self, stored: &Tensor) -> Result<Tensor> {
        let Some((start, shape)) = self.0.get() else {
            bail!("the operation did not run on the CPU");
        };
        stored
            .narrow(0, *start, shape.len())?
            .reshape((shape.n, shape.h, shape.w, shape.c))?
            .permute((0, 3, 1, 2))
    }
}

/// An operation on one channels-last activation.
struct Op1<'a, F> {
    name: &'static str,
    place: &'a Place,
    words: InWords,
    f: F,
}

impl<F> CustomOp1 for Op1<'_, F>
where
    F: Fn(&[f32], Nhwc) -> std::result::Result<(Map, Nhwc), Error> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, shape) = self.words.read(storage, layout)?;
        let (map, shape) = (self.f)(&x, shape)?;
        Ok(self.place.store(map, shape, self.words))
    }
}

/// An operation on an activation and a residual of the result's shape.
struct Op2<'a, F> {
    name: &'static str,
    place: &'a Place,
    words: InWords,
    f: F,
}

impl<F> CustomOp2 for Op2<'_, F>
where
    F: Fn(&[f32], Nhwc, Option<&[f32]>) -> std::result::Result<(Map, Nhwc), Error> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, input) = self.words.read(x, x_layout)?;
        let (residual, residual_shape) = nhwc(residual, residual_layout)?;
        let (map, output) = (self.f)(&x, input, Some(&residual))?;
        if residual_shape != output {
            bail!("the residual has shape {residual_shape:?}, the result {output:?}");
        }
        Ok(self.place.store(map, output, self.words))
    }
}

fn apply2<F>(
    x: &Tensor,
    residual: &Tensor,
    (name, words): (&'static str, InWords),
    f: F,
) -> Result<Tensor>
where
    F: Fn(&[f32], Nhwc, Option<&[f32]>) -> std::result::Result<(Map, Nhwc), Error> + Send + Sync,
{
    let place = Place::default();
    let op = Op2 {
        name,
        place: &place,
        words,
        f,
    };
    place.view(&x.apply_op2_no_bwd(residual, &op)?)
}

pub(super) fn apply<F>(x: &Tensor, name: &'static str, f: F) -> Result<Tensor>
where
    F: Fn(&[f32], Nhwc) -> std::result::Result<(Map, Nhwc), Error> + Send + Sync,
{
    apply_in(x, name, InWords::default(), f)
}

/// The same in words.
pub(super) fn apply_in<F>(x: &Tensor, name: &'static str, words: InWords, f: F) -> Result<Tensor>
where
    F: Fn(&[f32], Nhwc) -> std::result::Result<(Map, Nhwc), Error> + Send + Sync,
{
    let place = Place::default();
    let op = Op1 {
        name,
        place: &place,
        words,
        f,
    };
    place.view(&x.apply_op1_no_bwd(&op)?)
}

/// An operation that adds to a map where it lies: input, its shape, map, its shape.
struct AddTo<F> {
    name: &'static str,
    words: InWords,
    f: F,
}

impl<F> InplaceOp2 for AddTo<F>
where
    F: Fn(&[f32], Nhwc, &mut [f32], Nhwc) -> std::result::Result<(), Error>,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        map: &mut CpuStorage,
        map_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let (x, input) = self.words.read(x, x_layout)?;
        let (map, shape) = nhwc_mut(map, map_layout)?;
        Ok((self.f)(&x, input, map, shape)?)
    }
}

/// Adds to `map`, where it lies, what `f` makes of `x`: input, its shape, map, its shape.
pub(super) fn add_to<F>(
    map: &Tensor,
    x: &Tensor,
    (name, words): (&'static str, InWords),
    f: F,
) -> Result<()>
where
    F: Fn(&[f32], Nhwc, &mut [f32], Nhwc) -> std::result::Result<(), Error>,
{
    map.inplace_op2(x, &AddTo { name, words, f })
}

/// `x`, then `residual` if there is one, in an operation of one or of two tensors.
pub(super) fn apply_with<F>(
    x: &Tensor,
    residual: Option<&Tensor>,
    (name, words): (&'static str, InWords),
    f: F,
) -> Result<Tensor>
where
    F: Fn(&[f32], Nhwc, Option<&[f32]>) -> std::result::Result<(Map, Nhwc), Error> + Send + Sync,
{
    match residual {
        Some(residual) => apply2(x, residual, (name, words), f),
        None => apply_in(x, name, words, |x, input| f(x, input, None)),
    }
}
