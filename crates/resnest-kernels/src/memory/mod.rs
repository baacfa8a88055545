//! Memory: of weights and scratch, of the maps that are put out, and of outputs that several tasks write at once.

pub(crate) mod allocator;
pub(crate) mod buffer;
pub(crate) mod layer;
pub(crate) mod map;
pub(crate) mod mapped;
pub(crate) mod rows;
pub(crate) mod share;
