//! The kernels: raw pointers, generic over [`Vector`](super::vector::Vector), inlined into one function per
//! instruction set and size by `table.rs`.

pub(super) mod dot_tile;
pub(super) mod narrow;
pub(super) mod narrow_rows;
pub(super) mod rows;
pub(super) mod tile;
pub(super) mod winograd;
pub(super) mod winograd_weights;
