//! Groups of options that several commands share, and how their values are read; each command owns its others.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use resnest::model::Algorithm;
use resnest::{CropMode, DeviceChoice, Interpolation, MOST_THREADS, Precision, WeightsCache};

/// Which model, from where, and how it is changed.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// `demo`, ARCH[.TAG], hf-hub:USER/REPO[@REV] or local-dir:PATH
    #[arg(long, value_name = "NAME", default_value = "resnest50d.in1k")]
    pub model: String,
    /// Weights from this file (.safetensors, .safetensors.index.json, .pth, .bin) for the architecture of --model
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Number of classes, if not the checkpoint's: the classifier is then a new one, untrained
    #[arg(long, value_name = "N")]
    pub num_classes: Option<usize>,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// How the hub and the cache are used.
#[derive(Debug, Clone, Default, Args)]
pub struct HubArgs {
    /// Branch, tag or commit in the model's repository
    #[arg(long, value_name = "REV")]
    pub revision: Option<String>,
    /// Use only what is in the cache (also HF_HUB_OFFLINE=1)
    #[arg(long)]
    pub offline: bool,
    /// Where downloads are kept, instead of HF_HUB_CACHE or ~/.cache/huggingface/hub
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// More models: a file with entries like weights-manifest.toml's (repeatable)
    #[arg(long, value_name = "FILE")]
    pub manifest: Vec<PathBuf>,
    /// No progress bars and no notes on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

/// Where and how to compute.
#[derive(Debug, Clone, Args)]
pub struct ComputeArgs {
    /// Where to compute: auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "auto", value_parser = parse::<DeviceChoice>)]
    pub device: DeviceChoice,
    /// How exact the CPU's convolutions are; on other devices it makes no difference
    #[arg(long, value_enum, default_value = "auto")]
    pub precision: PrecisionChoice,
    /// Threads for decoding and computing [default: RAYON_NUM_THREADS, else all cores]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub cache: CacheArgs,
}

/// Where packed weights are kept.
#[derive(Debug, Clone, Default, Args)]
pub struct CacheArgs {
    /// Where packed weights are kept and shared with other processes, or `off` [default: RESNEST_WEIGHTS_CACHE, else
    /// ~/.cache/resnest/weights]
    #[arg(long, value_name = "DIR|off", value_parser = parse::<WeightsCache>)]
    pub weights_cache: Option<WeightsCache>,
}

/// What reading an image may cost.
#[derive(Debug, Clone, Args)]
pub struct ReadArgs {
    /// Memory that decoding one image may take, in bytes or with K, M or G behind; an image that would take more is an
    /// error of its own. As many images are decoded at once as there are threads
    #[arg(long, value_name = "BYTES", default_value = "2G", value_parser = bytes)]
    pub max_memory: u64,
}

/// [`Precision`] as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PrecisionChoice {
    /// int8 for a checkpoint that `resnest quantize` made, fast for any other
    #[default]
    Auto,
    /// f32, with Winograd's algorithms where they are faster: logits within 1e-4 of the largest
    #[value(alias = "f32")]
    Fast,
    /// f32, convolutions by their definition, rounding as little as PyTorch does
    Exact,
    /// Weights and products in bf16, sums in f32: half the memory, fastest on CPUs with AVX512_BF16
    Bf16,
    /// 8-bit integers, for checkpoints that `resnest quantize` made
    Int8,
}

impl PrecisionChoice {
    /// What was asked for, unless it is left to the checkpoint.
    pub fn asked(self) -> Option<Precision> {
        Some(match self {
            PrecisionChoice::Auto => return None,
            PrecisionChoice::Fast => Precision::Fast,
            PrecisionChoice::Exact => Precision::Exact,
            PrecisionChoice::Bf16 => Precision::Bf16,
            PrecisionChoice::Int8 => Precision::Int8,
        })
    }
}

/// What differs from the checkpoint's own preprocessing.
#[derive(Debug, Clone, Default, Args)]
pub struct TransformArgs {
    /// Input size in pixels: N for a square, or HxW [default: the checkpoint's]
    #[arg(long, value_name = "N|HxW", value_parser = input_size)]
    pub input_size: Option<(u32, u32)>,
    /// The share of the resized image's edge that the crop keeps [default: the checkpoint's]
    #[arg(long, value_name = "PCT", value_parser = crop_pct)]
    pub crop_pct: Option<f64>,
    /// center, squash or border [default: the checkpoint's]
    #[arg(long, value_parser = parse::<CropMode>)]
    pub crop_mode: Option<CropMode>,
    /// nearest, bilinear, bicubic, box, hamming or lanczos [default: the checkpoint's]
    #[arg(long, value_parser = parse::<Interpolation>)]
    pub interpolation: Option<Interpolation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum TableFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

pub fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: T::Err| e.to_string())
}

/// A number of threads.
pub fn threads(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        many if many > MOST_THREADS => Err(format!("must be at most {MOST_THREADS}")),
        number => Ok(number),
    }
}

/// `512M` to bytes; K, M and G are powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        _ => 0,
    };
    match digits
        .trim()
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
    {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("must be a number of bytes, such as 512M or 2G".into()),
    }
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("must be a whole number of at least 1".into()),
    }
}

/// `LAYER=NAME` to a layer and its algorithm.
pub fn layer_algorithm(text: &str) -> Result<(String, Algorithm), String> {
    let names = Algorithm::ALL.map(Algorithm::name);
    let (layer, name) = text.split_once('=').unwrap_or((text, ""));
    let found = Algorithm::ALL.into_iter().find(|a| a.name() == name);
    match found {
        Some(algorithm) if !layer.is_empty() => Ok((layer.to_owned(), algorithm)),
        _ => Err(format!(
            "must be a layer and one of {}, such as layer1.0.conv2.conv={}",
            names.join(", "),
            names[0]
        )),
    }
}

fn crop_pct(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(pct) if pct > 0.0 && pct <= 8.0 => Ok(pct),
        _ => Err("must be a number above 0, such as 0.875".into()),
    }
}

/// `N` or `HxW` to (height, width).
pub fn input_size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once(['x', 'X', ',']).unwrap_or((text, text));
    match (sides.0.trim().parse(), sides.1.trim().parse()) {
        (Ok(h), Ok(w)) if (1..=8192).contains(&h) && (1..=8192).contains(&w) => Ok((h, w)),
        _ => Err("must be a size such as 224 or 256x320 (height x width), at most 8192".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_threads_a_limit() {
        for (text, expected) in [
            ("1", 1),
            ("512M", 512 << 20),
            ("2G", 2 << 30),
            ("3kib", 3 << 10),
            ("1 GB", 1 << 30),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "0",
            "0G",
            "-1",
            "1.5G",
            "2X",
            "G",
            "99999999999999999999",
            "99999999T",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(threads("1024"), Ok(1024));
        assert!(threads("10000").unwrap_err().contains("1024"));
    }
}
