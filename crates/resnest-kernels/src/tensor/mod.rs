//! The candle layer: tensors are logical (N, C, H, W), their memory channels-last.
//!
//! Every operation takes any layout (other layouts than channels-last are copied first) and
//! returns a channels-last view, on which all other candle operations work too. Tensors must be
//! f32 on the CPU; anything else is candle's error.
//!
//! `storage.rs` reads tensors as slices, `op.rs` makes candle's custom operations of functions on slices; the other
//! files are the operations, named as the files of the slices' layer.

mod attention;
mod conv;
mod gate;
mod layout;
mod op;
mod pool;
mod splits;
mod storage;

pub use conv::Residual;
pub use gate::{gate_add_relu, gated_sum};
pub use layout::{from_channels_last, join_images, to_channels_last};
