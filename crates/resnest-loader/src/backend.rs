//! A checkpoint as candle's `VarBuilder` sees it: one tensor is read from the file at a time, and every
//! value that it hands out is a finite number.

use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

use crate::adapt::{Plan, adapt_input_conv, new_head};
use crate::checkpoint::{Checkpoint, TensorEntry};
use crate::error::{Error, Result as LoaderResult};
use crate::weights_cache::Entry;

/// Added to every variance before its root is taken: PyTorch's default, with which timm builds all norms
/// of these networks.
const NORM_EPS: f32 = 1e-5;

/// Gives tensors by name, those in the plan adapted.
pub(crate) struct CheckpointBackend<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) plan: &'a Plan,
    /// Kept here because candle's error, which goes through the network, holds but its text.
    pub(crate) refused: &'a Refused,
    /// The file that has layers packed already, whose weights nobody looks at here.
    pub(crate) packed: Option<&'a Entry>,
}

/// The error of the first refused tensor by name: parts of a network are read by several threads at once,
/// and the message should not depend on which comes first.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<Option<(String, Error)>>);

impl Refused {
    fn keep(&self, name: &str, error: Error) -> candle_core::Error {
        let text = error.to_string();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|(first, _)| name < first.as_str()) {
            *kept = Some((name.to_owned(), error));
        }
        candle_core::Error::msg(text)
    }

    /// What was refused, if anything was.
    pub(crate) fn take(&self) -> Option<Error> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take().map(|(_, error)| error)
    }
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
        if self.packed.is_some_and(|packed| packed.has_packed(name)) {
            // One zero that stands for all: no memory for them.
            return Tensor::zeros((), dtype, device)?.broadcast_as(shape);
        }
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
            let adapted = adapt_input_conv(self.entry(name)?, *chans)
                .map_err(|error| self.refused.keep(name, error))?;
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
        check_variance(entry)
            .and_then(|()| entry.weight_tensor(dtype, device))
            .map_err(|error| self.refused.keep(name, error))
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.checkpoint.get(name).is_some()
    }
}

impl CheckpointBackend<'_> {
    fn entry(&self, name: &str) -> Result<&TensorEntry> {
        let missing = || {
            candle_core::Error::CannotFindTensor {
                path: name.to_string(),
            }
            .bt()
        };
        self.checkpoint.get(name).ok_or_else(missing)
    }
}

/// A batch norm's variance must have a root, or the norm makes NaN of its channel (as timm's does).
fn check_variance(entry: &TensorEntry) -> LoaderResult<()> {
    if !entry.name().ends_with(".running_var") {
        return Ok(());
    }
    let variances = entry.weights()?;
    match variances.iter().position(|v| v + NORM_EPS <= 0.0) {
        None => Ok(()),
        Some(at) => Err(entry.bad_value(
            at,
            variances.get(at).copied().unwrap_or_default().into(),
            "a variance has no square root there, and every answer would be NaN, as timm's is; \
             the file is damaged: fetch it again",
        )),
    }
}
