//! [`Dot`](super::dot::Dot) for every instruction set, and the micro-kernels made of them.

pub(crate) mod table;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod plain;
