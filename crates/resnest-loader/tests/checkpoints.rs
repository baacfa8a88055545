//! Checkpoints of every format against what torch and timm made of the same weights
//! (tests/checkpoints/make_fixtures.py), and every way a checkpoint can be malformed.

mod checkpoints {
    mod adaptation;
    #[cfg(unix)]
    mod cache;
    pub mod common;
    mod finite;
    mod formats;
    mod malformed;
    #[cfg(unix)]
    mod models;
    mod mutations;
    pub mod quantized;
    mod reading;
    mod reference;
    mod sources;
    mod strictness;
}
