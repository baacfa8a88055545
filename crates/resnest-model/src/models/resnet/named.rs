//! The named networks of `models/resnet.py`, one line each.

use super::pruned;
use crate::config::{
    AaLayer, AttnLayer, Block, BlockArgs, NormLayer, Pruned, ResNetConfig, StemType,
};
use crate::models::Named;

fn basic(layers: [usize; 4]) -> ResNetConfig {
    ResNetConfig::resnet(Block::Basic(BlockArgs::default()), layers)
}

fn bottleneck(layers: [usize; 4]) -> ResNetConfig {
    ResNetConfig::resnet(Block::Bottleneck(BlockArgs::default()), layers)
}

/// ResNet-RS: `d`, a strided convolution for the stem's pool, attention of a quarter's width.
fn rs(layers: [usize; 4]) -> ResNetConfig {
    ResNetConfig {
        replace_stem_pool: true,
        ..bottleneck(layers)
            .d()
            .attn(AttnLayer::Se { rd_ratio: 0.25 })
    }
}

/// What the letters and prefixes of the names mean.
impl ResNetConfig {
    fn stem(self, stem_type: StemType, stem_width: usize) -> Self {
        Self {
            stem_type,
            stem_width,
            ..self
        }
    }

    /// A deep stem of width 32.
    fn c(self) -> Self {
        self.stem(StemType::Deep, 32)
    }

    /// A deep stem of width 64.
    fn s(self) -> Self {
        self.stem(StemType::Deep, 64)
    }

    /// `c`, and shortcuts that pool.
    pub(crate) fn d(self) -> Self {
        self.c().avg_down()
    }

    /// A tiered stem of width 32, and shortcuts that pool.
    fn t(self) -> Self {
        self.stem(StemType::DeepTiered, 32).avg_down()
    }

    fn avg_down(self) -> Self {
        Self {
            avg_down: true,
            ..self
        }
    }

    /// ResNeXt's `32x4d` is `groups(32, 4)`; a wide network has `groups(1, 128)`.
    pub(crate) fn groups(self, cardinality: usize, base_width: usize) -> Self {
        Self {
            cardinality,
            base_width,
            ..self
        }
    }

    fn attn(self, attn_layer: AttnLayer) -> Self {
        let args = BlockArgs {
            attn_layer: Some(attn_layer),
        };
        let block = match self.block {
            Block::Basic(_) => Block::Basic(args),
            Block::Bottleneck(_) => Block::Bottleneck(args),
            other => other,
        };
        Self { block, ..self }
    }

    fn se(self) -> Self {
        self.attn(AttnLayer::se())
    }

    fn eca(self) -> Self {
        self.attn(AttnLayer::Eca)
    }

    fn aa(self) -> Self {
        Self {
            aa_layer: Some(AaLayer::AvgPool),
            ..self
        }
    }

    fn blur(self) -> Self {
        Self {
            aa_layer: Some(AaLayer::BlurPool),
            ..self
        }
    }

    fn pruned(self, pruned: &'static Pruned) -> Self {
        Self {
            pruned: Some(pruned),
            ..self
        }
    }
}

const L14: [usize; 4] = [1, 1, 1, 1];
const L26: [usize; 4] = [2, 2, 2, 2];
const L50: [usize; 4] = [3, 4, 6, 3];
const L101: [usize; 4] = [3, 4, 23, 3];
const L152: [usize; 4] = [3, 8, 36, 3];
const L200: [usize; 4] = [3, 24, 36, 3];
const L269: [usize; 4] = [3, 30, 48, 8];

/// Every named network of the file, in its order.
#[rustfmt::skip]
pub(crate) const NAMED: &[Named] = &[
    ("resnet10t", || basic(L14).t()),
    ("resnet14t", || bottleneck(L14).t()),
    ("resnet18", || basic(L26)),
    ("resnet18d", || basic(L26).d()),
    ("resnet34", || basic(L50)),
    ("resnet34d", || basic(L50).d()),
    ("resnet26", || bottleneck(L26)),
    ("resnet26t", || bottleneck(L26).t()),
    ("resnet26d", || bottleneck(L26).d()),
    ("resnet50", || bottleneck(L50)),
    ("resnet50c", || bottleneck(L50).c()),
    ("resnet50d", || bottleneck(L50).d()),
    ("resnet50s", || bottleneck(L50).s()),
    ("resnet50t", || bottleneck(L50).t()),
    ("resnet101", || bottleneck(L101)),
    ("resnet101c", || bottleneck(L101).c()),
    ("resnet101d", || bottleneck(L101).d()),
    ("resnet101s", || bottleneck(L101).s()),
    ("resnet152", || bottleneck(L152)),
    ("resnet152c", || bottleneck(L152).c()),
    ("resnet152d", || bottleneck(L152).d()),
    ("resnet152s", || bottleneck(L152).s()),
    ("resnet200", || bottleneck(L200)),
    ("resnet200d", || bottleneck(L200).d()),
    ("wide_resnet50_2", || bottleneck(L50).groups(1, 128)),
    ("wide_resnet101_2", || bottleneck(L101).groups(1, 128)),
    ("resnet50_gn", || ResNetConfig { norm_layer: NormLayer::GroupNorm, ..bottleneck(L50) }),
    ("resnext50_32x4d", || bottleneck(L50).groups(32, 4)),
    ("resnext50d_32x4d", || bottleneck(L50).groups(32, 4).d()),
    ("resnext101_32x4d", || bottleneck(L101).groups(32, 4)),
    ("resnext101_32x8d", || bottleneck(L101).groups(32, 8)),
    ("resnext101_32x16d", || bottleneck(L101).groups(32, 16)),
    ("resnext101_32x32d", || bottleneck(L101).groups(32, 32)),
    ("resnext101_64x4d", || bottleneck(L101).groups(64, 4)),
    ("ecaresnet26t", || bottleneck(L26).t().eca()),
    ("ecaresnet50d", || bottleneck(L50).d().eca()),
    ("ecaresnet50d_pruned", || bottleneck(L50).d().eca().pruned(&pruned::ECARESNET50D)),
    ("ecaresnet50t", || bottleneck(L50).t().eca()),
    ("ecaresnetlight", || bottleneck([1, 1, 11, 3]).stem(StemType::Conv7x7, 32).avg_down().eca()),
    ("ecaresnet101d", || bottleneck(L101).d().eca()),
    ("ecaresnet101d_pruned", || bottleneck(L101).d().eca().pruned(&pruned::ECARESNET101D)),
    ("ecaresnet200d", || bottleneck(L200).d().eca()),
    ("ecaresnet269d", || bottleneck(L269).d().eca()),
    ("ecaresnext26t_32x4d", || bottleneck(L26).groups(32, 4).t().eca()),
    ("ecaresnext50t_32x4d", || bottleneck(L50).groups(32, 4).t().eca()),
    ("seresnet18", || basic(L26).se()),
    ("seresnet34", || basic(L50).se()),
    ("seresnet50", || bottleneck(L50).se()),
    ("seresnet50t", || bottleneck(L50).t().se()),
    ("seresnet101", || bottleneck(L101).se()),
    ("seresnet152", || bottleneck(L152).se()),
    ("seresnet152d", || bottleneck(L152).d().se()),
    ("seresnet200d", || bottleneck(L200).d().se()),
    ("seresnet269d", || bottleneck(L269).d().se()),
    ("seresnext26d_32x4d", || bottleneck(L26).groups(32, 4).d().se()),
    ("seresnext26t_32x4d", || bottleneck(L26).groups(32, 4).t().se()),
    ("seresnext50_32x4d", || bottleneck(L50).groups(32, 4).se()),
    ("seresnext101_32x4d", || bottleneck(L101).groups(32, 4).se()),
    ("seresnext101_32x8d", || bottleneck(L101).groups(32, 8).se()),
    ("seresnext101d_32x8d", || bottleneck(L101).groups(32, 8).d().se()),
    ("seresnext101_64x4d", || bottleneck(L101).groups(64, 4).se()),
    ("senet154", || ResNetConfig {
        down_kernel_size: 3,
        block_reduce_first: 2,
        ..bottleneck(L152).groups(64, 4).s().se()
    }),
    ("resnetblur18", || basic(L26).blur()),
    ("resnetblur50", || bottleneck(L50).blur()),
    ("resnetblur50d", || bottleneck(L50).d().blur()),
    ("resnetblur101d", || bottleneck(L101).d().blur()),
    ("resnetaa34d", || basic(L50).d().aa()),
    ("resnetaa50", || bottleneck(L50).aa()),
    ("resnetaa50d", || bottleneck(L50).d().aa()),
    ("resnetaa101d", || bottleneck(L101).d().aa()),
    ("seresnetaa50d", || bottleneck(L50).d().aa().se()),
    ("seresnextaa101d_32x8d", || bottleneck(L101).groups(32, 8).d().aa().se()),
    ("seresnextaa201d_32x8d", || bottleneck([3, 24, 36, 4]).groups(32, 8).s().avg_down().aa().se()),
    ("resnetrs50", || rs(L50)),
    ("resnetrs101", || rs(L101)),
    ("resnetrs152", || rs(L152)),
    ("resnetrs200", || rs(L200)),
    ("resnetrs270", || rs([4, 29, 53, 4])),
    ("resnetrs350", || rs([4, 36, 72, 4])),
    ("resnetrs420", || rs([4, 44, 87, 4])),
    ("test_resnet", || {
        let (basic, bottleneck) = (Block::Basic, Block::Bottleneck);
        let stages = [basic, basic, bottleneck, basic].map(|block| block(BlockArgs::default()));
        ResNetConfig {
            channels: [32, 48, 48, 96],
            ..ResNetConfig::resnet(Block::PerStage(Box::new(stages)), L14)
                .stem(StemType::Deep, 16)
                .avg_down()
        }
    }),
];
