//! timm's [`layers/`]: each layer as a composition of candle's operations, and beside it, once the network is fused, as
//! a kernel.
//!
//! [`layers/`]: https://github.com/huggingface/pytorch-image-models/tree/main/timm/layers

pub(crate) mod act;
pub(crate) mod blur_pool;
pub(crate) mod conv;
pub(crate) mod conv_bn_act;
pub(crate) mod create_attn;
pub(crate) mod eca;
pub(crate) mod gate;
pub(crate) mod linear;
pub(crate) mod nan;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod selective_kernel;
pub(crate) mod split_attn;
pub(crate) mod squeeze_excite;
pub(crate) mod weights;
