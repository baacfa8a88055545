//! Convolutions: packed once, run on channels-last activations.
//!
//! [`PackedConv`] holds the weights as its [`Algorithm`] reads them, and [`PackedConv::run`] is the one way to apply
//! it: any [`ConvInput`] to any [`ConvOutput`], with an [`Epilogue`]. [`ConvPair`] is two of them run as one.
//!
//! - `direct/`: every size, stride, dilation and grouping (im2col where the taps are short) through the micro-kernel
//! - `dot/`: the same with factors of lower precision
//! - `winograd/`: 3x3 by minimal filtering, F(2x2) to F(6x6)
//! - `narrow.rs`: groups of 2 to 16 channels; `depthwise.rs`: groups of one
//! - `geometry.rs`: shapes, and where the windows of an application lie; `panel.rs`: how weights are packed;
//!   `origin.rs`: what from, or that they were packed before; `sums.rs`: the channel sums of an epilogue

mod algorithm;
mod depthwise;
mod direct;
mod dot;
mod geometry;
#[allow(
    unsafe_code,
    reason = "a task writes some channels of its rows, between those that other tasks write: no slice is its own"
)]
mod narrow;
mod operands;
mod origin;
mod packed;
mod pair;
mod panel;
#[allow(
    unsafe_code,
    reason = "a new map is memory without values until an algorithm has written all of it"
)]
mod run;
#[allow(
    unsafe_code,
    reason = "the sums of a task's channels lie between those of other tasks"
)]
mod sums;
mod table;
mod winograd;

pub use algorithm::Algorithm;
pub use operands::{ConvInput, ConvOutput, Epilogue, MapChannels, WeightedSplits, WordFormat};
pub use packed::PackedConv;
pub use pair::ConvPair;
