//! Direct convolution: every size, stride, dilation and grouping through one micro-kernel.

mod im2col;
#[allow(
    unsafe_code,
    reason = "a task writes some channels of its pixels, between those that other tasks write: no slice is its own"
)]
mod run;
mod tasks;
mod weights;

pub(super) use tasks::{Cut, Task};
pub(super) use weights::Direct;
