//! Which options fit together.

use super::{resnest, senet};
use crate::config::{
    AttnLayer, Block, MOST_CHANNELS, NormLayer, PoolType, ResNetConfig, SkArgs, StemType,
};
use crate::error::{Error, Result};
use crate::helpers::group_width;
use crate::layers::norm::NORM_GROUPS;
use crate::layers::selective_kernel::PATHS;

/// Published networks stay below 22,000 classes; beyond a million a configuration is damaged or hostile.
const MOST_CLASSES: usize = 1 << 20;
/// ResNet-RS-420 has 139.
const MOST_BLOCKS: usize = 256;

impl ResNetConfig {
    /// Whether a network can be built from these options.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first option that does not fit.
    pub fn validate(&self) -> Result<()> {
        self.check_ranges()?;
        if ![8, 16, 32].contains(&self.output_stride) {
            return Err(Error::config(
                "output_stride",
                self.output_stride,
                "must be 8, 16 or 32",
            ));
        }
        if ![1, 3].contains(&self.down_kernel_size) {
            return Err(Error::config(
                "down_kernel_size",
                self.down_kernel_size,
                "must be 1 or 3",
            ));
        }
        if self.stem_type == StemType::DeepTiered && self.stem_width < 4 {
            return Err(Error::config(
                "stem_width",
                self.stem_width,
                "a tiered stem needs at least 4",
            ));
        }
        if self.global_pool == PoolType::None && self.num_classes > 0 {
            return Err(Error::config(
                "global_pool",
                "none",
                format!(
                    "a classifier of {} classes needs a pool; set num_classes to 0 for feature maps",
                    self.num_classes
                ),
            ));
        }
        self.check_pruned()?;
        if let Block::SeNet(args) = &self.block {
            return senet::validate(self, args);
        }
        (0..4).try_for_each(|stage| self.check_stage(stage))
    }

    fn check_ranges(&self) -> Result<()> {
        let at_least_one = [
            ("cardinality", self.cardinality),
            ("base_width", self.base_width),
            ("stem_width", self.stem_width),
            ("in_chans", self.in_chans),
            ("block_reduce_first", self.block_reduce_first),
        ];
        let stages = |name| move |&n: &usize| (name, n);
        let each = at_least_one
            .into_iter()
            .chain(self.layers.iter().map(stages("layers")))
            .chain(self.channels.iter().map(stages("channels")));
        for (option, value) in each {
            if !(1..=MOST_CHANNELS).contains(&value) {
                return Err(Error::config(
                    option,
                    value,
                    format!("must be 1 to {MOST_CHANNELS}"),
                ));
            }
        }
        if self.num_classes > MOST_CLASSES {
            return Err(Error::config(
                "num_classes",
                self.num_classes,
                format!("must be 0 to {MOST_CLASSES}"),
            ));
        }
        let blocks: usize = self.layers.iter().sum();
        if blocks > MOST_BLOCKS {
            return Err(Error::config(
                "layers",
                format!("{:?}", self.layers),
                format!("must be {MOST_BLOCKS} blocks or fewer in all"),
            ));
        }
        Ok(())
    }

    /// Pruned widths are those of one network, block for block.
    fn check_pruned(&self) -> Result<()> {
        let Some(pruned) = self.pruned else {
            return Ok(());
        };
        let blocks: usize = self.layers.iter().sum();
        let bottlenecks = matches!(self.block, Block::Bottleneck(_));
        if bottlenecks && self.cardinality == 1 && pruned.widths.len() == blocks {
            return Ok(());
        }
        let expected = "the widths of a pruned network fit its own blocks and layers only";
        Err(Error::config(
            "pruned",
            format!("{:?}", self.layers),
            expected,
        ))
    }

    fn check_stage(&self, stage: usize) -> Result<()> {
        let planes = self.channels[stage];
        match self.block.of_stage(stage) {
            Block::ResNest(args) => resnest::validate(self, args),
            Block::Basic(args) => {
                self.check_basic()?;
                check_attn(args.attn_layer)?;
                self.check_widths(planes, [planes / self.block_reduce_first, planes])
            }
            Block::Bottleneck(args) => {
                check_attn(args.attn_layer)?;
                self.check_bottleneck(planes, self.block_reduce_first)
            }
            Block::SelectiveKernelBasic(args) => {
                self.check_basic()?;
                self.check_paths(args, stage)?;
                self.check_widths(planes, [planes / self.block_reduce_first, planes])
            }
            Block::SelectiveKernelBottleneck(args) => {
                check_ratio(args.rd_ratio, args.rd_divisor)?;
                let width = group_width(planes, self.base_width, self.cardinality);
                check_split(args, width / self.block_reduce_first, self.cardinality)?;
                self.check_bottleneck(planes, self.block_reduce_first)
            }
            Block::Bottle2neck(args) => {
                if !(1..=64).contains(&args.scale) {
                    return Err(Error::config("scale", args.scale, "must be 1 to 64"));
                }
                self.check_bottleneck(planes, 1)
            }
            Block::SeNet(_) | Block::PerStage(_) => {
                let expected = "a stage of a mixed network takes a plain block";
                Err(Error::config(
                    "block",
                    format!("{:?}", self.block),
                    expected,
                ))
            }
        }
    }

    fn check_basic(&self) -> Result<()> {
        let options = [
            ("cardinality", self.cardinality, 1),
            ("base_width", self.base_width, 64),
        ];
        for (option, value, only) in options {
            if value != only {
                let expected = format!("a basic block has {only} only");
                return Err(Error::config(option, value, expected));
            }
        }
        Ok(())
    }

    fn check_paths(&self, args: &SkArgs, stage: usize) -> Result<()> {
        check_ratio(args.rd_ratio, args.rd_divisor)?;
        let before = match stage {
            0 => self.stem_chans(),
            _ => self.stage_chans(stage - 1),
        };
        check_split(args, before, 1)?;
        check_split(args, self.stage_chans(stage), 1)
    }

    /// A bottleneck whose first convolution is `reduce_first` times narrower than its 3x3.
    fn check_bottleneck(&self, planes: usize, reduce_first: usize) -> Result<()> {
        let width = group_width(planes, self.base_width, self.cardinality);
        let groups = self.cardinality;
        let first = width / reduce_first;
        if width > MOST_CHANNELS || first == 0 {
            let expected = format!(
                "gives a stage of {planes} planes {first} and {width} channels, not 1 to {MOST_CHANNELS}"
            );
            return Err(Error::config("base_width", self.base_width, expected));
        }
        if !first.is_multiple_of(groups) {
            let expected = format!(
                "the {first} channels of a stage of {planes} planes do not divide into that many groups"
            );
            return Err(Error::config("cardinality", groups, expected));
        }
        self.check_widths(planes, [first, width])
    }

    /// The widths of a block, and of what stands before and after it.
    fn check_widths(&self, planes: usize, inner: [usize; 2]) -> Result<()> {
        let out = planes.saturating_mul(4);
        if out > MOST_CHANNELS || inner.contains(&0) {
            let expected = format!("widths {inner:?} and {out} are not 1 to {MOST_CHANNELS}");
            return Err(Error::config("channels", planes, expected));
        }
        if self.norm_layer == NormLayer::BatchNorm {
            return Ok(());
        }
        let stem = match self.stem_type {
            StemType::Conv7x7 => [self.stem_chans(); 3],
            _ => [self.first_chans(), self.stem_width, self.stem_chans()],
        };
        let odd = |chans: &usize| !chans.is_multiple_of(NORM_GROUPS);
        match inner
            .iter()
            .chain(&stem)
            .chain([&planes])
            .find(|chans| odd(chans))
        {
            None => Ok(()),
            Some(chans) => {
                let expected = format!("{chans} channels do not divide into {NORM_GROUPS} groups");
                Err(Error::config("norm_layer", "groupnorm", expected))
            }
        }
    }
}

fn check_attn(layer: Option<AttnLayer>) -> Result<()> {
    match layer {
        Some(AttnLayer::Se { rd_ratio }) => check_ratio(rd_ratio, 8),
        Some(AttnLayer::Eca) | None => Ok(()),
    }
}

fn check_ratio(rd_ratio: f64, rd_divisor: usize) -> Result<()> {
    if !(rd_ratio > 0.0 && rd_ratio <= 4.0) {
        return Err(Error::config(
            "rd_ratio",
            rd_ratio,
            "must be above 0, and 4 at most",
        ));
    }
    if !(1..=MOST_CHANNELS).contains(&rd_divisor) {
        let expected = format!("must be 1 to {MOST_CHANNELS}");
        return Err(Error::config("rd_divisor", rd_divisor, expected));
    }
    Ok(())
}

/// What enters a selective kernel divides into its paths, and each part into groups.
fn check_split(args: &SkArgs, chans: usize, groups: usize) -> Result<()> {
    let parts = if args.split_input { PATHS } else { 1 };
    if chans.is_multiple_of(parts * groups) && chans > 0 {
        return Ok(());
    }
    let expected = format!("{chans} channels do not divide into {parts} paths of {groups} groups");
    Err(Error::config("split_input", args.split_input, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ResNestArgs;

    #[test]
    fn what_cannot_be_built_is_refused_by_name() {
        let base = ResNetConfig::resnest50d;
        let radix = |radix| {
            Block::ResNest(ResNestArgs {
                radix,
                avd: true,
                avd_first: false,
            })
        };
        let cases: [(&str, ResNetConfig); 11] = [
            (
                "output_stride",
                ResNetConfig {
                    output_stride: 7,
                    ..base()
                },
            ),
            (
                "layers",
                ResNetConfig {
                    layers: [3, 0, 6, 3],
                    ..base()
                },
            ),
            (
                "layers",
                ResNetConfig {
                    layers: [1 << 14; 4],
                    ..base()
                },
            ),
            (
                "channels",
                ResNetConfig {
                    channels: [64, 128, 256, usize::MAX],
                    ..base()
                },
            ),
            (
                "in_chans",
                ResNetConfig {
                    in_chans: 0,
                    ..base()
                },
            ),
            (
                "cardinality",
                ResNetConfig {
                    cardinality: 0,
                    ..base()
                },
            ),
            (
                "cardinality",
                ResNetConfig {
                    cardinality: 3,
                    base_width: 8,
                    block: radix(1),
                    ..base()
                },
            ),
            (
                "base_width",
                ResNetConfig {
                    base_width: 0,
                    ..base()
                },
            ),
            (
                "radix",
                ResNetConfig {
                    block: radix(3),
                    ..base()
                },
            ),
            (
                "global_pool",
                ResNetConfig {
                    global_pool: PoolType::None,
                    ..base()
                },
            ),
            (
                "stem_width",
                ResNetConfig {
                    stem_type: StemType::DeepTiered,
                    stem_width: 3,
                    ..base()
                },
            ),
        ];
        for (wanted, config) in cases {
            match config.validate() {
                Err(Error::Config { option, .. }) => assert_eq!(option, wanted, "{config:?}"),
                other => panic!("{wanted}: {other:?}"),
            }
        }
    }
}
