//! What a network asks of a checkpoint, without one: a backend that writes down every request.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

/// A tensor that a network reads from its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The checkpoint's name.
    pub name: String,
    /// The shape it must have.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Elements of the tensor.
    pub fn elem_count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Running statistics of a norm: in the checkpoint, but not a parameter.
    pub fn is_buffer(&self) -> bool {
        self.name.ends_with(".running_mean") || self.name.ends_with(".running_var")
    }
}

/// Answers every request with zeros that take no memory, and remembers it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    requests: Arc<Mutex<Vec<TensorSpec>>>,
}

impl Recorder {
    /// A source of tensors for a network's constructor.
    pub(crate) fn var_builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), DType::F32, Device::Cpu)
    }

    /// What was requested, in order.
    pub(crate) fn into_requests(self) -> Vec<TensorSpec> {
        std::mem::take(&mut *self.requests())
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<TensorSpec>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimpleBackend for Recorder {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        self.requests().push(TensorSpec {
            name: name.to_owned(),
            shape: shape.dims().to_vec(),
        });
        // One zero, seen through strides of 0.
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("`{name}` was asked for without its shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
