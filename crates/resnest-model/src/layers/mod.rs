//! timm's `layers/`: each as a composition of candle's operations, and after fusing as a kernel.

pub(crate) mod blur_pool;
pub(crate) mod conv;
pub(crate) mod conv_bn_act;
pub(crate) mod create_attn;
pub(crate) mod eca;
pub(crate) mod gate;
pub(crate) mod nan;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod selective_kernel;
pub(crate) mod split_attn;
pub(crate) mod squeeze_excite;
