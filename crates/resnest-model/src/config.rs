//! The options a network is built from, under timm's names (`timm/models/resnet.py`,
//! `ResNet.__init__`).

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::resnest;

/// Channels, groups and classes beyond these are a damaged or hostile configuration: published
/// networks stay below 4096 channels and 22,000 classes. Keeps the answers of [`crate::spec`] cheap.
pub(crate) const MOST_CHANNELS: usize = 1 << 16;
const MOST_CLASSES: usize = 1 << 20;
/// ResNeSt-269 has 89.
const MOST_BLOCKS: usize = 256;

/// How a network of timm's ResNet family is built.
///
/// Named constructors ([`ResNetConfig::resnest50d`] …) give the published networks; every field can
/// then be changed:
///
/// ```
/// use resnest_model::{PoolType, ResNetConfig};
/// let config = ResNetConfig { num_classes: 10, global_pool: PoolType::CatAvgMax,
/// ..ResNetConfig::resnest26d() }; config.validate()?;
/// # Ok::<(), resnest_model::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ResNetConfig {
    /// The residual block and the options that only it knows (timm: `block` and `block_args`).
    pub block: Block,
    /// Blocks in each of the four stages.
    pub layers: [usize; 4],
    /// Planes of each stage; a stage puts out `planes * expansion` channels (4 for bottlenecks).
    pub channels: [usize; 4],
    /// Groups of the 3x3 convolution before the radix multiplies them.
    pub cardinality: usize,
    /// Width of a group per 64 planes: `group_width = int(planes * base_width / 64) * cardinality`.
    pub base_width: usize,
    /// Layout of the stem.
    pub stem_type: StemType,
    /// Width of the first convolutions of a deep stem, which puts out twice as many channels. The
    /// 7x7 stem always puts out 64 and ignores it.
    pub stem_width: usize,
    /// Shortcuts that change shape: average pool and 1x1 convolution instead of a strided 1x1
    /// convolution.
    pub avg_down: bool,
    /// Classes of the head; 0 leaves the classifier out, the output is then what the pool gives.
    pub num_classes: usize,
    /// Channels of the input image.
    pub in_chans: usize,
    /// The pool before the classifier.
    pub global_pool: PoolType,
    /// Input pixels per pixel of the last feature map: 32, or 16 or 8 by dilation instead of
    /// stride.
    pub output_stride: usize,
}

/// A kind of residual block, with its own options.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// `ResNestBottleneck` of `timm/models/resnest.py`.
    ResNest(ResNestArgs),
}

/// `block_args` of `ResNestBottleneck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResNestArgs {
    /// Splits of each cardinal group. 1 gates one split by a sigmoid; 0 is a plain 3x3 convolution
    /// without attention.
    pub radix: usize,
    /// Downsample by a 3x3 average pool instead of the stride of the 3x3 convolution.
    pub avd: bool,
    /// Put that pool before the 3x3 convolution instead of after it.
    pub avd_first: bool,
}

/// The layers before the first residual block, max-pool aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StemType {
    /// `''`: one 7x7 convolution, stride 2, 64 channels.
    #[default]
    Conv7x7,
    /// `'deep'`: three 3x3 convolutions of `stem_width`, `stem_width`, `2 * stem_width` channels.
    Deep,
    /// `'deep_tiered'`: as deep, the first of `3 * (stem_width / 4)` channels.
    DeepTiered,
}

/// The pool between the last feature map and the classifier (timm: `global_pool`).
///
/// timm's `fast*` spellings are other code for the same values and parse to the same variants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolType {
    /// Mean over height and width.
    #[default]
    Avg,
    /// Maximum over height and width.
    Max,
    /// Half the sum of mean and maximum.
    AvgMax,
    /// Mean and maximum side by side: twice the features.
    CatAvgMax,
    /// No pool: the feature map itself. Only without a classifier.
    None,
}

impl PoolType {
    /// Features after the pool per feature before it.
    pub fn feat_mult(self) -> usize {
        if self == PoolType::CatAvgMax { 2 } else { 1 }
    }
}

impl FromStr for PoolType {
    type Err = Error;

    /// Takes timm's spellings: `avg`, `max`, `avgmax`, `catavgmax`, each also with `fast` before
    /// it, `fast` (avg), and `''` or `none`.
    fn from_str(s: &str) -> Result<Self> {
        let lower = s.to_ascii_lowercase();
        match lower.strip_prefix("fast").unwrap_or(&lower) {
            "" if lower.is_empty() => Ok(PoolType::None),
            "none" if lower == "none" => Ok(PoolType::None),
            "avg" | "" => Ok(PoolType::Avg),
            "max" => Ok(PoolType::Max),
            "avgmax" => Ok(PoolType::AvgMax),
            "catavgmax" => Ok(PoolType::CatAvgMax),
            _ => Err(Error::config(
                "global_pool",
                format!("`{s}`"),
                "use avg, max, avgmax, catavgmax (or fast… of these), or none",
            )),
        }
    }
}

impl fmt::Display for PoolType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PoolType::Avg => "avg",
            PoolType::Max => "max",
            PoolType::AvgMax => "avgmax",
            PoolType::CatAvgMax => "catavgmax",
            PoolType::None => "none",
        })
    }
}

impl FromStr for StemType {
    type Err = Error;

    /// Takes timm's spellings: `''`, `deep`, `deep_tiered`.
    fn from_str(s: &str) -> Result<Self> {
        match s {
            "" => Ok(StemType::Conv7x7),
            "deep" => Ok(StemType::Deep),
            "deep_tiered" => Ok(StemType::DeepTiered),
            _ => Err(Error::config(
                "stem_type",
                format!("`{s}`"),
                "use '' (7x7 convolution), deep or deep_tiered",
            )),
        }
    }
}

impl fmt::Display for StemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StemType::Conv7x7 => "",
            StemType::Deep => "deep",
            StemType::DeepTiered => "deep_tiered",
        })
    }
}

impl StemType {
    /// Channels after the stem.
    pub fn out_chans(self, stem_width: usize) -> usize {
        match self {
            StemType::Conv7x7 => 64,
            StemType::Deep | StemType::DeepTiered => stem_width * 2,
        }
    }
}

impl Block {
    /// Channels a block puts out per plane.
    pub fn expansion(&self) -> usize {
        match self {
            Block::ResNest(_) => resnest::EXPANSION,
        }
    }
}

impl ResNetConfig {
    /// Every architecture known by name, timm's eight first, then the others of the official
    /// repository.
    pub fn names() -> impl Iterator<Item = &'static str> {
        resnest::NAMED.iter().map(|(name, _)| *name)
    }

    /// The configuration of a named architecture (no tag): timm's name or the official repository's
    /// (`resnest50_fast_4s2x40d`, `resnest269` …).
    ///
    /// # Errors
    /// [`Error::UnknownModel`] with the nearest names.
    pub fn by_name(name: &str) -> Result<Self> {
        let found = |wanted: &str| {
            let (_, build) = resnest::NAMED.iter().find(|(known, _)| *known == wanted)?;
            Some(build())
        };
        found(name)
            .or_else(|| found(&resnest::timm_name(name)?))
            .ok_or_else(|| Error::UnknownModel {
                name: name.to_owned(),
                nearest: nearest_names(name),
            })
    }

    /// Channels of the last feature map, before the pool (timm: `num_features`).
    pub fn num_features(&self) -> usize {
        self.channels[3] * self.block.expansion()
    }

    /// Features that enter the classifier: `num_features`, twice that for `catavgmax`.
    pub fn head_features(&self) -> usize {
        self.num_features() * self.global_pool.feat_mult()
    }

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
        match &self.block {
            Block::ResNest(args) => resnest::validate(self, args),
        }
    }

    fn check_ranges(&self) -> Result<()> {
        let at_least_one = [
            ("cardinality", self.cardinality),
            ("base_width", self.base_width),
            ("stem_width", self.stem_width),
            ("in_chans", self.in_chans),
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
}

/// Up to three known names, the most similar first.
fn nearest_names(name: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = ResNetConfig::names().collect();
    names.sort_by_key(|known| strsim::damerau_levenshtein(known, name));
    names.truncate(3);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_and_a_misspelling_is_answered_with_its_neighbours() {
        for name in ResNetConfig::names() {
            ResNetConfig::by_name(name).unwrap().validate().unwrap();
        }
        let Err(Error::UnknownModel { nearest, .. }) = ResNetConfig::by_name("resnest5od") else {
            panic!("resolved a misspelling");
        };
        assert_eq!(nearest[0], "resnest50d");
    }

    #[test]
    fn official_names_are_timms() {
        for (official, timm) in [
            ("resnest50", "resnest50d"),
            ("resnest101", "resnest101e"),
            ("resnest269", "resnest269e"),
            ("resnest50_fast_4s2x40d", "resnest50d_4s2x40d"),
        ] {
            assert_eq!(
                ResNetConfig::by_name(official).unwrap(),
                ResNetConfig::by_name(timm).unwrap()
            );
        }
        assert!(ResNetConfig::by_name("resnest50_fast_9s9x9d").is_err());
    }

    #[test]
    fn pool_spellings_are_timms() {
        let spellings = [
            ("avg", PoolType::Avg),
            ("fast", PoolType::Avg),
            ("fastavg", PoolType::Avg),
            ("fastmax", PoolType::Max),
            ("AvgMax", PoolType::AvgMax),
            ("fastavgmax", PoolType::AvgMax),
            ("fastcatavgmax", PoolType::CatAvgMax),
            ("", PoolType::None),
            ("none", PoolType::None),
        ];
        for (text, pool) in spellings {
            assert_eq!(text.parse::<PoolType>().unwrap(), pool, "{text}");
        }
        for wrong in ["mean", "fastnone", "avgavg"] {
            assert!(wrong.parse::<PoolType>().is_err(), "{wrong}");
        }
    }

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
