//! Tensors into and out of channels-last memory.

use super::op::{Place, apply};
use super::storage::{Locked, nhwc, strides};
use crate::memory::map::Map;
use candle_core::{Device, Result, Tensor, bail};

/// The same values in channels-last memory of their own.
pub(super) fn copy(x: &Tensor) -> Result<Tensor> {
    apply(x, "resnest-channels-last", |x, shape| {
        Ok((x.to_vec().into(), shape))
    })
}

/// The same logical (N, C, H, W) values in channels-last memory; no copy if they are already.
///
/// # Errors
/// When the tensor does not have four dimensions or is not f32 on the CPU.
pub fn to_channels_last(x: &Tensor) -> Result<Tensor> {
    let (strides, shape) = strides(x.layout())?;
    match strides.is_channels_last(shape) {
        true => Ok(x.clone()),
        false => copy(x),
    }
}

/// The images of logical (N, C, H, W) tensors one after the other, in channels-last memory; copied on
/// [`current_threads`](crate::current_threads) threads, where candle's `cat` has one.
///
/// # Errors
/// When there is no tensor, one has other channels or sides than the first, or is not f32 on the CPU.
pub fn join_images(parts: &[Tensor]) -> Result<Tensor> {
    let parts = parts.iter().map(to_channels_last);
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let Some((_, mut shape)) = parts.first().map(|x| strides(x.layout())).transpose()? else {
        bail!("there are no images to join");
    };
    shape.n = 0;
    let parts: Vec<_> = parts.iter().collect();
    let locked = Locked::new(&parts);
    let mut maps = Vec::with_capacity(parts.len());
    for (storage, part) in locked.storages().zip(&parts) {
        let (map, part) = nhwc(storage?, part.layout())?;
        if (part.h, part.w, part.c) != (shape.h, shape.w, shape.c) {
            bail!("images of shape {part:?} do not join those of {shape:?}");
        }
        shape.n += part.n;
        maps.push(map);
    }
    let maps: Vec<&[f32]> = maps.iter().map(|map| &**map).collect();
    let place = Place::default();
    let values = place.note(Map::joined(&maps), shape);
    let len = values.len();
    place.view(&Tensor::from_vec(values, len, &Device::Cpu)?)
}

/// The same values in contiguous (N, C, H, W) memory.
///
/// # Errors
/// When the tensor does not have four dimensions.
pub fn from_channels_last(x: &Tensor) -> Result<Tensor> {
    x.dims4()?;
    x.contiguous()
}
