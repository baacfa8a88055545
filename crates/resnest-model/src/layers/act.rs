//! The activation after a convolution (timm: `act_layer`).

use candle_core::{Result, Tensor};

use super::nan::relu;

/// What follows a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing.
    Identity,
    /// max(x, 0); NaN stays NaN.
    Relu,
}

impl Act {
    pub(crate) fn apply(self, x: Tensor) -> Result<Tensor> {
        match self {
            Act::Identity => Ok(x),
            Act::Relu => relu(&x),
        }
    }

    /// What a convolution with a norm and this after it is called in a trace.
    pub(crate) fn after_norm(self) -> &'static str {
        match self {
            Act::Identity => ", norm",
            Act::Relu => ", norm, relu",
        }
    }
}
