//! timm-compatible image classification.
#![forbid(unsafe_code)]
