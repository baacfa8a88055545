//! timm's ResNet family in candle, under the checkpoint's names: ResNet, ResNeXt, SE, ECA and ResNet-RS
//! networks, ResNeSt, SK-ResNet, Res2Net and the legacy SE networks.
//!
//! Logits equal to PyTorch's, from the same weights. No I/O: tensors come in through candle's
//! [`VarBuilder`](candle_nn::VarBuilder), images as a normalised (N, C, H, W) tensor.
//!
//! # A tour
//! * [`ResNetConfig`] says how a network is built: [`ResNetConfig::resnest50d`] and its fellows are
//!   the published ones, [`ResNetConfig::by_name`] finds them by name, and any field can be
//!   changed.
//! * [`ResNet::new`] builds it; [`ResNet::forward`] gives logits, [`ResNet::forward_features`] the
//!   last map, [`ResNet::forward_features_at`] the maps of chosen stages, [`TestTimePoolHead`]
//!   timm's `--test-pool`.
//! * [`ResNet::class_activation_maps`] and [`ResNet::split_weights`] tell where a network saw a class,
//!   and how it weighed its splits.
//! * [`ResNet::fuse`] turns a loaded network into one that runs on the kernels of
//!   `resnest-kernels`, many times faster, on the CPU in f32; [`ResNet::plan`] and
//!   [`ResNet::profile`] tell what was chosen and what it costs.
//! * [`expected_tensors`] lists what a checkpoint must hold, [`parameter_count`], [`gmacs`] and
//!   [`trace_shapes`] say what the network costs and which shapes pass through it, [`plan`] how it
//!   would be computed; none of them needs weights.
//!
//! # Where things are
//! One file per file of timm. Models: `resnet/` is the trunk (stem, stages, head), its blocks and its
//! named networks; `resnest.rs`, `sknet.rs`, `res2net.rs` and `senet.rs` each hold their blocks and their
//! named networks. Layers: `squeeze_excite.rs`, `eca.rs`, `create_attn.rs`, `selective_kernel.rs`,
//! `split_attn.rs`, `blur_pool.rs`, `conv_bn_act.rs`, `norm.rs`, `pool.rs`, `helpers.rs`. The rest is
//! ours: `layers.rs` and `gate.rs` decide how things are computed, `fuse.rs` is what fusing is, `config/`
//! the options; `nan.rs` is ReLU and maxima as PyTorch has them; `test_time_pool.rs`, `feature.rs` and `explain.rs` add to networks, `spec.rs` and
//! `trace.rs` answer questions about them by running them over nothing.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::VarBuilder;
//! use resnest_model::{ResNet, ResNetConfig};
//!
//! let config = ResNetConfig { num_classes: 10, ..ResNetConfig::resnest14d() };
//! let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
//! let model = ResNet::new(&config, weights)?;
//! let logits = model.forward(&Tensor::zeros((1, 3, 64, 64), DType::F32, &Device::Cpu)?)?;
//! assert_eq!(logits.dims(), [1, 10]);
//! # Ok::<(), resnest_model::Error>(())
//! ```
#![forbid(unsafe_code)]

mod block;
mod config;
mod error;
mod fuse;
mod helpers;
mod init;
mod layers;
mod models;
mod network;
mod spec;
mod test_time_pool;
mod trace;

pub use config::{
    AaLayer, AttnLayer, Block, BlockArgs, NormLayer, PoolType, Pruned, Res2NetArgs, ResNestArgs,
    ResNetConfig, SeNetArgs, SeNetBlock, SkArgs, StemType,
};
pub use error::{Error, Result};
pub use fuse::{FuseOptions, PlannedLayer};
pub use init::random_weights;
pub use network::{FeatureInfo, ResNet, SplitWeights};
pub use resnest_kernels::{
    Algorithm, Isa, IsaKind, Precision, current_threads, keep_freed_memory, with_threads,
};
pub use spec::{TensorSpec, expected_tensors, gmacs, parameter_count, plan, trace_shapes};
pub use test_time_pool::TestTimePoolHead;
pub use trace::{Step, TimedStep};
