//! Tensors as channels-last slices.

use crate::layout::{Strides, to_nhwc};
use crate::memory::buffer::values;
use crate::memory::map::Map;
use crate::shape::Nhwc;
use candle_core::{CpuStorage, DType, Layout, Result, Storage, StorageRef, Tensor, bail};
use std::ops::Deref;

/// Channels-last values: where they were, or a copy.
pub(super) enum Values<'a> {
    Borrowed(&'a [f32]),
    Copied(Map),
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Values::Borrowed(values) => values,
            Values::Copied(map) => map,
        }
    }
}

/// Where the values of a logical (N, C, H, W) tensor lie, and its shape.
pub(super) fn strides(layout: &Layout) -> Result<(Strides, Nhwc)> {
    let (n, c, h, w) = layout.shape().dims4()?;
    let mut strides = Strides {
        offset: layout.start_offset(),
        nchw: [0; 4],
    };
    strides.nchw.copy_from_slice(layout.stride());
    Ok((strides, Nhwc::new(n, h, w, c)))
}

/// The channels-last values of a CPU f32 storage, to be changed.
pub(super) fn nhwc_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> Result<(&'a mut [f32], Nhwc)> {
    let (strides, shape) = strides(layout)?;
    let CpuStorage::F32(values) = storage else {
        bail!("the fused kernels compute in f32; convert the tensor with to_dtype(DType::F32)");
    };
    if !strides.is_channels_last(shape) {
        bail!("only channels-last memory is written in place");
    }
    match values.get_mut(strides.offset..strides.offset + shape.len()) {
        Some(values) => Ok((values, shape)),
        None => bail!("the layout reaches beyond its storage"),
    }
}

/// Reads a CPU f32 storage as channels-last values, copying only if it is something else.
pub(super) fn nhwc<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<(Values<'a>, Nhwc)> {
    let (strides, shape) = strides(layout)?;
    let CpuStorage::F32(values) = storage else {
        bail!("the fused kernels compute in f32; convert the tensor with to_dtype(DType::F32)");
    };
    let values = if strides.is_channels_last(shape) {
        match values.get(strides.offset..strides.offset + shape.len()) {
            Some(values) => Values::Borrowed(values),
            None => bail!("the layout reaches beyond its storage"),
        }
    } else {
        Values::Copied(to_nhwc(values, strides, shape)?)
    };
    Ok((values, shape))
}

/// A map of words that a convolution has made for another one: channels-last, its channels counted in words. They come as
/// values, which mean nothing: [`ConvInput::Words`](crate::ConvInput::Words) takes them.
pub(super) fn words_as_values<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<(Values<'a>, Nhwc)> {
    let (strides, shape) = strides(layout)?;
    match storage {
        CpuStorage::U32(words) if strides.is_channels_last(shape) => {
            match words.get(strides.offset..strides.offset + shape.len()) {
                Some(words) => Ok((Values::Borrowed(values(words)), shape)),
                None => bail!("the layout reaches beyond its storage"),
            }
        }
        _ => bail!("a map of words is channels-last and u32"),
    }
}

/// Which memory a tensor lies in: tensors of the same have one lock.
pub(super) fn memory(x: &Tensor) -> *const Storage {
    &*x.storage_and_layout().0
}

/// The storages of tensors, each locked once and in the order of their memory. A thread that locks one
/// again while another waits to write it would wait for ever, and so would two that lock two of them in
/// different orders.
pub(super) struct Locked<'a> {
    /// By the memory of each tensor, which one of `guards` holds it.
    places: Vec<usize>,
    guards: Vec<StorageRef<'a>>,
}

impl<'a> Locked<'a> {
    pub fn new(tensors: &[&'a Tensor]) -> Self {
        let memories: Vec<_> = tensors.iter().map(|x| memory(x)).collect();
        let mut order: Vec<_> = (0..tensors.len()).collect();
        order.sort_by_key(|&index| memories[index]);
        let (mut places, mut guards) = (vec![0; tensors.len()], Vec::new());
        let mut before = None;
        for index in order {
            if before != Some(memories[index]) {
                guards.push(tensors[index].storage_and_layout().0);
                before = Some(memories[index]);
            }
            places[index] = guards.len() - 1;
        }
        Locked { places, guards }
    }

    /// The storages in the tensors' order.
    pub fn storages(&self) -> impl Iterator<Item = Result<&CpuStorage>> {
        self.places.iter().map(|&place| match &*self.guards[place] {
            Storage::Cpu(storage) => Ok(storage),
            _ => bail!("the fused kernels compute on the CPU; move the tensor with to_device"),
        })
    }
}

/// Whether `map` can be written where it lies while `x` is read.
pub(super) fn is_apart(map: &Tensor, x: &Tensor) -> Result<bool> {
    let (strides, shape) = strides(map.layout())?;
    let is_f32 = map.dtype() == DType::F32 && map.device().is_cpu();
    Ok(is_f32 && strides.is_channels_last(shape) && memory(map) != memory(x))
}
