//! What must hold for any bytes, one function for each fuzz target of `fuzz/fuzz_targets`.
//!
//! `tests/mutated.rs` calls the same functions over a bounded number of mutated files. Each function panics where
//! something does not hold: that is how libFuzzer and the test suite hear of it.
//!
//! | functions | what holds |
//! |---|---|
//! | [`jpeg`], [`png`], [`webp`], [`gif`], [`bmp`], [`tiff`], [`pnm`], [`tga`], [`qoi`], [`ico`] | no panic inside; the header and the pixels agree; twice the same; limits are kept |
//! | [`safetensors()`] | read as the crate `safetensors` reads it, or refused where that refuses |
//! | [`pickle`], [`zip`] | no panic; every tensor that is listed can be read or says why not |
//! | [`config`], [`manifest`] | no panic; what was accepted can be used |
//! | [`npy`] | what was written is read back, bit for bit |
//! | [`tensors`] | a request of the protocol that is accepted reads the same when it is written in its other forms |
//! | [`upload`] | so does a form or a list of images; none is made up |

mod checkpoints;
mod features;
mod pictures;
mod requests;
mod text;

pub use checkpoints::{pickle, safetensors, zip};
pub use features::npy;
pub use pictures::{bmp, gif, ico, jpeg, png, pnm, qoi, tga, tiff, webp};
pub use requests::{tensors, upload};
pub use text::{config, manifest};
