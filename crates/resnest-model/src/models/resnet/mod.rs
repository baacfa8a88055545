//! ResNet, ResNeXt, SE and ECA networks and ResNet-RS: the blocks and the named networks
//! (`timm/models/resnet.py`).

mod basic_block;
mod bottleneck;
mod named;
mod pruned;

pub(crate) use basic_block::BasicBlock;
pub(crate) use bottleneck::Bottleneck;
pub(crate) use named::NAMED;
