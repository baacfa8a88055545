//! ResNet, ResNeXt, wide ResNet, SE and ECA networks, ResNet-RS: the blocks and the named networks.
//!
//! He et al., *Deep Residual Learning for Image Recognition*, [arXiv:1512.03385]; Xie et al., *Aggregated Residual
//! Transformations*, [arXiv:1611.05431]; Zagoruyko and Komodakis, *Wide Residual Networks*, [arXiv:1605.07146]; He et
//! al., *Bag of Tricks* (the letters `c`, `d`, `t`), [arXiv:1812.01187]; Bello et al., *Revisiting ResNets*,
//! [arXiv:2103.07579]; timm's [`models/resnet.py`].
//!
//! [arXiv:1512.03385]: https://arxiv.org/abs/1512.03385
//! [arXiv:1611.05431]: https://arxiv.org/abs/1611.05431
//! [arXiv:1605.07146]: https://arxiv.org/abs/1605.07146
//! [arXiv:1812.01187]: https://arxiv.org/abs/1812.01187
//! [arXiv:2103.07579]: https://arxiv.org/abs/2103.07579
//! [`models/resnet.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/resnet.py

mod basic_block;
mod bottleneck;
mod named;
mod pruned;

pub(crate) use basic_block::BasicBlock;
pub(crate) use bottleneck::Bottleneck;
pub(crate) use named::NAMED;
