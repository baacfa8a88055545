//! Instruction sets: one vector type each, and the same kernels compiled for every one of them.
//!
//! - `isa.rs` asks the CPU; an [`Isa`] proves that it can run a set's kernels.
//! - `vector.rs` is the trait of a register; `portable.rs`, `avx2.rs`, `avx512.rs` and `neon.rs` implement it and
//!   instantiate the kernels under their target features into a table (`table.rs`).
//! - `dot.rs` is the trait of products of bf16 and of 8-bit integers; `dots/` implements it and makes tables of its own,
//!   for a CPU with AVX-512 may or may not have the instructions for either.
//!
//! # Kernels and checked
//!
//! Two folders whose files have the same names:
//!
//! - `kernels/`: raw pointers in, generic over `Vector`, unsafe to call; what must hold is said on
//!   their `…Args`.
//! - `checked/`: slices in. Bounds are checked here, once per panel, row or tile, and then the kernel of the
//!   caller's `Isa` is called. The rest of the crate knows these alone.
//!
//! What `checked/` cannot know is whether another task writes the same values at the same time: functions that
//! write to memory that tasks share (`memory/share.rs`) stay unsafe for that one
//! reason, the others are safe.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod checked;
pub(crate) mod dot;
mod dots;
pub(crate) mod form;
pub(crate) mod isa;
mod kernels;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod prefetch;
mod table;
pub(crate) mod vector;

pub use isa::{Isa, IsaKind};
