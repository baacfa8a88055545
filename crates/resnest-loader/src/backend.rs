//! A checkpoint as candle's `VarBuilder` sees it: one tensor is copied from the map at a time.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

use crate::adapt::{Plan, adapt_input_conv, new_head};
use crate::checkpoint::Checkpoint;

/// Answers by name, adapting what the plan says.
pub(crate) struct CheckpointBackend<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) plan: &'a Plan,
}

impl SimpleBackend for CheckpointBackend<'_> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if self.plan.replaced.iter().any(|replaced| replaced == name) {
            return match shape.dims() {
                &[_, features] => {
                    Tensor::from_vec(new_head(shape.elem_count(), features), shape, device)?
                        .to_dtype(dtype)
                }
                _ => Tensor::zeros(shape, dtype, device),
            };
        }
        if let Some((_, chans)) = self
            .plan
            .first_conv
            .as_ref()
            .filter(|(conv, _)| conv == name)
        {
            let adapted =
                adapt_input_conv(self.entry(name)?, *chans).map_err(candle_core::Error::wrap)?;
            return Tensor::from_vec(adapted, shape, device)?.to_dtype(dtype);
        }
        let tensor = self.get_unchecked(name, dtype, device)?;
        if tensor.shape() != &shape {
            let msg = format!("shape mismatch for {name}");
            return Err(candle_core::Error::UnexpectedShape {
                msg,
                expected: shape,
                got: tensor.shape().clone(),
            }
            .bt());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let entry = self.entry(name)?;
        let tensor = entry.to_tensor(dtype, device);
        entry.release();
        tensor.map_err(candle_core::Error::wrap)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.checkpoint.get(name).is_some()
    }
}

impl CheckpointBackend<'_> {
    fn entry(&self, name: &str) -> Result<&crate::checkpoint::TensorEntry> {
        let missing = || {
            candle_core::Error::CannotFindTensor {
                path: name.to_string(),
            }
            .bt()
        };
        self.checkpoint.get(name).ok_or_else(missing)
    }
}
