//! The options that are one of a few words, under timm's spellings.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

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

/// The norm after every convolution (timm: `norm_layer`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NormLayer {
    /// `batchnorm2d`.
    #[default]
    BatchNorm,
    /// `groupnorm`, of 32 groups.
    GroupNorm,
}

impl FromStr for NormLayer {
    type Err = Error;

    /// Takes timm's spellings: `batchnorm`, `batchnorm2d`, `groupnorm`.
    fn from_str(s: &str) -> Result<Self> {
        match s.replace('_', "").to_ascii_lowercase().as_str() {
            "batchnorm" | "batchnorm2d" => Ok(NormLayer::BatchNorm),
            "groupnorm" => Ok(NormLayer::GroupNorm),
            _ => Err(Error::config(
                "norm_layer",
                format!("`{s}`"),
                "use batchnorm2d or groupnorm",
            )),
        }
    }
}

/// What stands for a stride, to avoid aliasing (timm: `aa_layer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AaLayer {
    /// `avg`: an average pool of 2x2.
    AvgPool,
    /// `blur`: a binomial filter of 3x3.
    BlurPool,
}

impl FromStr for AaLayer {
    type Err = Error;

    /// Takes timm's spellings: `avg`, `avgpool`, `blur`, `blurpool`.
    fn from_str(s: &str) -> Result<Self> {
        match s.replace(['_', '-'], "").to_ascii_lowercase().as_str() {
            "avg" | "avgpool" => Ok(AaLayer::AvgPool),
            "blur" | "blurpool" => Ok(AaLayer::BlurPool),
            _ => Err(Error::config(
                "aa_layer",
                format!("`{s}`"),
                "use avgpool or blurpool",
            )),
        }
    }
}

/// Widths of a pruned network of bottlenecks.
#[derive(Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Channels that each stage puts out.
    pub out_chans: [usize; 4],
    /// Channels after the first and the second convolution of every block, in the order of the
    /// network.
    pub widths: &'static [[usize; 2]],
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
