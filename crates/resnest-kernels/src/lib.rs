//! Fast CPU convolutions and pools for residual networks, as candle custom operations.
//!
//! - [`conv`]: convolutions, packed once and run with [`PackedConv::run`]; [`plan`] chooses among their algorithms
//! - [`attention`] and [`splits`]: layers of several convolutions, as one; [`pool`], [`gate`], [`layout`]: the rest
//! - `tensor/` (feature `candle`): all of these on candle's tensors
//! - [`naive`]: every operation as its obvious loop: the specification
//! - [`arch`]: instruction sets; the only SIMD
//! - [`threads`]: the pool behind all of them; `memory/`: weights, scratch, maps, and outputs that tasks share
//! - `tuning.rs`: every number that was measured, and on what
//!
//! A file imports from floors below its own and never in a circle (`tests/floors.rs`). `unsafe` is denied outside
//! `arch/`, `memory/` and the modules that name their reason where they are declared.
//!
//! # How it is checked
//!
//! `cargo test --release -p resnest-kernels` holds every kernel, on every instruction set of the
//! machine, against [`naive`] over random shapes, and the layers of the real networks against f64;
//! `RESNEST_TEST_CASES=20` tries twenty times as many shapes. All of it gives the same bits on 1, 2,
//! 3 and 8 threads. What no ordinary run sees, these do, from the root of the repository:
//!
//! - Bounds and races of the portable path and of all indexing, under Miri (minutes a test file):
//!   `MIRIFLAGS="-Zmiri-ignore-leaks -Zmiri-deterministic-floats" cargo +nightly miri test
//!   -p resnest-kernels --no-default-features`
//! - Memory, AVX-512 included, under AddressSanitizer: `RUSTFLAGS=-Zsanitizer=address cargo +nightly
//!   test --release -p resnest-kernels --no-default-features --target x86_64-unknown-linux-gnu`
//! - AVX2 under valgrind (3.19 has no AVX-512): `RESNEST_TEST_CASES=0.1 valgrind --fair-sched=yes
//!   --suppressions=crates/resnest-kernels/tests/valgrind.supp target/release/deps/conv-…
//!   --test-threads 1`, likewise `rest`, `attention`, `concurrency`, `tensor`
//! - NEON under qemu: `CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
//!   CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
//!   RESNEST_TEST_CASES=0.2 cargo test --release -p resnest-kernels --no-default-features
//!   --target aarch64-unknown-linux-gnu --test conv --test rest --test attention`

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "SIMD, and pointers whose bounds were checked")]
pub mod arch;
pub mod attention;
pub mod conv;
mod error;
pub mod fold;
pub mod gate;
pub mod layout;
#[allow(
    unsafe_code,
    reason = "memory without values, chunks and files of weights, outputs that several tasks write, glibc's settings"
)]
mod memory;
pub mod naive;
mod partition;
pub mod plan;
pub mod pool;
mod quantise;
pub mod shape;
#[allow(
    unsafe_code,
    reason = "convolutions write one map between them, and a chained one reads what the one before wrote"
)]
pub mod splits;
#[cfg(feature = "candle")]
pub mod tensor;
pub mod threads;
mod tuning;

pub use arch::{Isa, IsaKind};
pub use attention::{PackedSplitAttention, SplitAttentionWeights};
pub use conv::{
    Algorithm, ConvInput, ConvOutput, ConvPair, Epilogue, MapChannels, PackedConv, WeightedSplits,
    WordFormat,
};
pub use error::Error;
pub use fold::{BatchNorm, all_finite, fold_batch_norm};
pub use memory::allocator::{keep_freed_memory, share_freed_memory};
pub use memory::buffer::settle_weights;
pub use memory::layer::MappedLayer;
pub use memory::map::Map;
pub use memory::mapped::MappedWeights;
pub use plan::{Precision, choose, choose_int8, cost};
pub use pool::{GlobalPool, PoolKind, PoolSpec};
pub use quantise::InputScale;
pub use shape::{ConvSpec, Nhwc};
pub use splits::{Rest, SplitConvs};
#[cfg(feature = "candle")]
pub use tensor::{
    Residual, from_channels_last, gate_add_relu, gated_sum, join_images, to_channels_last,
};
pub use threads::{current_threads, default_threads, parallel_map, with_threads};
