//! Packed layers that outlive a process.

use std::fmt::Debug;

use resnest_kernels::{MappedLayer, PackedConv};

use crate::error::Result;

/// Where the layers of a network are kept as they were packed, so that the next process does not pack them again:
/// [`ResNet::fused_as`](crate::ResNet::fused_as).
///
/// Layers have the names of the checkpoint. Several threads ask and hand over at once, in any order.
pub trait PackedStore: Debug + Send + Sync {
    /// The layer of this name as it was packed, for the same choices; `None` if it has to be packed now, from the weights
    /// that the network was given.
    ///
    /// # Errors
    /// When it should be there and is not: the network is then not built.
    fn packed(&self, layer: &str) -> Result<Option<MappedLayer>>;

    /// A layer that was just packed.
    fn keep(&self, layer: &str, packed: &PackedConv);
}
