//! The kernels' callers: slices instead of pointers, bounds checked, the instruction set proved by an
//! [`Isa`](super::isa::Isa).

pub(crate) mod dot_tile;
pub(crate) mod narrow;
pub(crate) mod narrow_rows;
pub(crate) mod offsets;
pub(crate) mod rows;
pub(crate) mod tile;
pub(crate) mod winograd;
pub(crate) mod winograd_weights;
