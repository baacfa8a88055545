//! Winograd convolution of 3x3 kernels: transform, multiply, transform back.
//!
//! With a dilation, outputs depend on every `dilation`-th pixel only: tiles take every `dilation`-th pixel, and with a stride of the dilation's size, outputs are neighbours again.
//!
//! With a stride of 2, each tap reads pixels of one parity, and products are sums over up to
//! four terms.
//!
//! U is `[group][panel][product][term][k][width]`, V `[tile][product][term][k]`, M of one panel
//! `[tile][product][width]`. Rows of V and the tiles of both are a little longer than that: the 64
//! products of F(6x6) would put the same product of all tiles into the same few sets of a cache.

#[allow(
    unsafe_code,
    reason = "a task writes some channels of its tiles, between those that other tasks write: no slice is its own"
)]
mod multiply;
#[allow(
    unsafe_code,
    reason = "a task's channel sums lie between those of others"
)]
mod run;
mod tiling;
mod weights;

pub(super) use weights::Winograd;
