//! Fast CPU convolutions and pools for residual networks, as candle custom operations.
//!
//! - [`arch`]: instruction sets; the only SIMD
//! - [`conv`]: convolutions, packed once
//! - [`naive`]: every operation as its obvious loop: the specification
//! - [`threads`]: the pool behind all of them

pub mod arch;
mod buffer;
pub mod conv;
mod error;
pub mod naive;
pub mod shape;
mod share;
pub mod threads;

pub use arch::{Isa, IsaKind};
pub use conv::{Algorithm, Epilogue, PackedConv};
pub use error::Error;
pub use shape::{ConvSpec, Nhwc};
pub use threads::{current_threads, default_threads, with_threads};
