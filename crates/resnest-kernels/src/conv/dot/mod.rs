//! Direct convolution of bf16 and of 8-bit integers: the input is rounded to words as it is read, the sums are written as
//! f32.
//!
//! A 1x1 convolution of many pixels rounds the pixels of a task in the task; others round all of the input first, for
//! several tasks read each pixel.

mod frame;
#[allow(
    unsafe_code,
    reason = "a task writes some channels of its pixels, between those that other tasks write: no slice is its own"
)]
mod run;
mod weights;

pub(super) use weights::DotConv;
