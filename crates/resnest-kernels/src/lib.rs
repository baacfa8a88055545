//! Fast CPU convolutions and pools for residual networks, as candle custom operations.
//!
//! - [`arch`]: instruction sets; the only SIMD
//! - [`conv`]: convolutions, packed once
//! - [`naive`]: every operation as its obvious loop: the specification
//! - [`threads`]: the pool behind all of them

pub mod arch;
pub mod attention;
mod buffer;
pub mod conv;
mod error;
pub mod fold;
pub mod layout;
pub mod naive;
pub mod plan;
pub mod pool;
pub mod shape;
mod share;
#[cfg(feature = "candle")]
pub mod tensor;
pub mod threads;

pub use arch::{Isa, IsaKind};
pub use attention::{PackedSplitAttention, SplitAttentionWeights};
pub use buffer::settle_weights;
pub use conv::{Algorithm, Epilogue, PackedConv};
pub use error::Error;
pub use fold::{BatchNorm, fold_batch_norm};
pub use plan::{Precision, choose};
pub use pool::{GlobalPool, PoolKind, PoolSpec};
pub use shape::{ConvSpec, Nhwc};
#[cfg(feature = "candle")]
pub use tensor::{from_channels_last, to_channels_last};
pub use threads::{current_threads, default_threads, parallel_map, with_threads};
