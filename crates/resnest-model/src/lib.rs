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
//! * [`ResNet::class_activation_maps`] and [`ResNet::split_weights`] show where a network saw a class,
//!   and how it weighed its splits.
//! * [`ResNet::fuse`] turns a loaded network into one that runs on the kernels of
//!   `resnest-kernels`, many times faster, on the CPU in f32; [`ResNet::plan`] and
//!   [`ResNet::profile`] show what was chosen and how long it takes.
//! * [`expected_tensors`] lists what a checkpoint must hold, [`parameter_count`], [`gmacs`] and
//!   [`trace_shapes`] say what the network costs and which shapes pass through it, [`plan`] how it
//!   would be computed; none of them needs weights.
//!
//! # Where things are
//! Each floor imports from those below it only; `tests/floors.rs` holds the crate to that.
//!
//! | floor | files | |
//! |---|---|---|
//! | network | `network/`, `test_time_pool.rs`, `spec.rs` | the trunk put together, run, fused, looked into; what it costs |
//! | registry | `models/registry.rs`, `models/validate.rs` | every name → its configuration; a configuration → its blocks |
//! | models | `models/` | one file or folder for each of timm's: its blocks, the table of its networks |
//! | block | `block.rs` | what all residual blocks have in common |
//! | layers | `layers/` | timm's `layers/`: a composition of candle's operations and a fused kernel side by side |
//! | fuse | `fuse.rs`, `store.rs` | folding norms, choosing algorithms, packing weights; packed layers that outlive a process |
//! | ground | `config/`, `trace.rs`, `init.rs`, `recorder.rs`, `helpers.rs`, `error.rs` | options, as data; what all others need |
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
mod recorder;
mod spec;
mod store;
mod test_time_pool;
mod trace;

pub use config::{
    AaLayer, AttnLayer, Block, BlockArgs, NormLayer, PoolType, Pruned, Res2NetArgs, ResNestArgs,
    ResNetConfig, SeNetArgs, SeNetBlock, SkArgs, StemType,
};
pub use error::{Error, Result};
pub use fuse::{FuseChoices, FuseOptions, PlannedLayer};
pub use init::random_weights;
pub use network::{FeatureInfo, ResNet, SplitWeights};
pub use recorder::TensorSpec;
pub use resnest_kernels::threads::{PerProcess, RecordedLoop, RecordedTask, forks, record_loops};
pub use resnest_kernels::{
    Algorithm, ConvSpec, InputScale, Isa, IsaKind, MappedLayer, MappedWeights, PackedConv,
    Precision, current_threads, keep_freed_memory, parallel_map, share_freed_memory, with_threads,
};
pub use spec::{arbitrary_scales, expected_tensors, gmacs, parameter_count, plan, trace_shapes};
pub use store::PackedStore;
pub use test_time_pool::TestTimePoolHead;
pub use trace::{Step, TimedStep, Watch};
