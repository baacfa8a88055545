//! A request of the protocol to its answer, whichever door it came through.
//!
//! `tensor.rs` is what requests and answers consist of, `inputs.rs` makes images of them, `run.rs` has the engine answer
//! those, `outputs.rs` makes tensors of the answers. `metadata.rs` says what there is.

pub mod inputs;
pub mod metadata;
pub mod outputs;
mod run;
pub mod tensor;

use crate::{Outcome, State};
use tensor::{InferRequest, InferResponse};

impl State {
    /// Answers a request of the protocol.
    ///
    /// # Errors
    /// No such model; a request that makes no sense; no place for it; no image of it has an answer.
    pub async fn infer(&self, request: InferRequest) -> Outcome<InferResponse> {
        let model = self
            .models
            .get(Some(&request.model), request.version.as_deref())?;
        let (outputs, wants) = outputs::plan(&model, request.outputs)?;
        let images = inputs::images(&model, request.inputs)?;
        let done = self.answer(&model, images, wants).await?;
        outputs::response(&model, request.id, outputs, &done)
    }
}

#[cfg(test)]
mod tests;
