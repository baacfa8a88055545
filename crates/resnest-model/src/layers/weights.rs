//! What a convolution or linear layer holds: tensors as they were read, or weights packed for a kernel.

use std::sync::Arc;

use candle_core::Tensor;
use resnest_kernels::PackedConv;

/// The weights of a layer: as they were read, for candle's operations, or packed for a kernel.
#[derive(Clone, Debug)]
pub(crate) enum Weights {
    Plain {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    /// With the norm that follows the layer, if one does, folded in.
    Packed(Arc<PackedConv>),
}

impl Weights {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let of = |t: &Tensor| t.elem_count() * t.dtype().size_in_bytes();
        match self {
            Weights::Plain { weight, bias } => of(weight) + bias.as_ref().map_or(0, of),
            Weights::Packed(kernel) => kernel.bytes(),
        }
    }
}
