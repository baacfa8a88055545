//! Maps weighted channel by channel, as tensors.

use super::layout::{copy, to_channels_last};
use super::op::Place;
use super::storage::{Locked, memory, nhwc, nhwc_mut};
use crate::arch::Isa;
use crate::gate::{GateEpilogue, gate_in_place};
use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Result, Tensor, bail};

/// `Σ parts[p] · gates[:, p]`, plus `residual` if there is one, then ReLU if `relu`. Parts and residual
/// are logical (N, C, H, W) tensors, `gates` is (N, parts, C).
///
/// # Errors
/// When shapes do not fit or a tensor is not f32 on the CPU.
pub fn gated_sum(
    parts: &[&Tensor],
    gates: &Tensor,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Tensor> {
    let gates = gates.flatten_all()?.to_vec1::<f32>()?;
    let maps: Vec<&Tensor> = parts.iter().copied().chain(residual).collect();
    let locked = Locked::new(&maps);
    let mut values = Vec::with_capacity(maps.len());
    let mut shape = None;
    for (storage, map) in locked.storages().zip(&maps) {
        let (map, of) = nhwc(storage?, map.layout())?;
        if *shape.get_or_insert(of) != of {
            bail!("the maps have the shapes {shape:?} and {of:?}");
        }
        values.push(map);
    }
    let Some(shape) = shape else {
        bail!("there is nothing to weigh");
    };
    let mut slices: Vec<&[f32]> = values.iter().map(|map| &**map).collect();
    let residual = slices.split_off(parts.len()).pop();
    let epilogue = GateEpilogue { residual, relu };
    let sum = crate::gate::gated_sum(&slices, &gates, shape, epilogue)?;
    let place = Place::default();
    let values = place.note(sum, shape);
    let len = values.len();
    place.view(&Tensor::from_vec(values, len, &Device::Cpu)?)
}

/// `x · gates + residual`, then ReLU, in place.
struct Gate {
    gates: Vec<f32>,
}

impl InplaceOp2 for Gate {
    fn name(&self) -> &'static str {
        "resnest-gate"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<()> {
        let (values, shape) = nhwc_mut(x, x_layout)?;
        let (residual, residual_shape) = nhwc(residual, residual_layout)?;
        if residual_shape != shape {
            bail!("the residual has shape {residual_shape:?}, the map {shape:?}");
        }
        let epilogue = GateEpilogue {
            residual: Some(&residual),
            relu: true,
        };
        gate_in_place(Isa::detect()?, values, &self.gates, shape, epilogue)?;
        Ok(())
    }
}

/// `relu(x · gates + residual)` written over `x`, which must be the only tensor of its memory: a map
/// that an operation has just put out. Maps are logical (N, C, H, W) tensors, `gates` is (N, C).
///
/// A residual in the memory of `x` is read as it was: the result then is a map of its own.
///
/// # Errors
/// When shapes do not fit or a tensor is not f32 on the CPU.
pub fn gate_add_relu(x: Tensor, gates: &Tensor, residual: &Tensor) -> Result<Tensor> {
    let mut x = to_channels_last(&x)?;
    if memory(&x) == memory(residual) {
        x = copy(&x)?;
    }
    let gates = gates.flatten_all()?.to_vec1::<f32>()?;
    x.inplace_op2(residual, &Gate { gates })?;
    Ok(x)
}
