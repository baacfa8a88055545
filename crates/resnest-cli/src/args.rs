//! The options, as clap reads them.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use resnest::model::Algorithm;

use super::explain::ExplainArgs;
use super::features::FeaturesArgs;
use super::validate::args::ValidateArgs;
use super::verify::VerifyArgs;
use resnest::{CropMode, DeviceChoice, Interpolation, MOST_THREADS, Precision};

/// Classify images with timm's pretrained ResNeSt checkpoints, with the same answers as timm.
#[derive(Debug, Parser)]
#[command(name = "resnest", version, max_term_width = 110, after_help = EXIT_STATUS)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_STATUS: &str = "\
Exit status: 0 all done, 1 some inputs failed, 2 wrong usage, 3 the model could not be had,
130 interrupted.
Environment: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY, RAYON_NUM_THREADS.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Classify image files, folders, globs, or one image from standard input
    Classify(ClassifyArgs),
    /// Show where in an image its class was seen, and how each block weighed its splits
    Explain(ExplainArgs),
    /// List the pretrained models
    Models(ModelsArgs),
    /// Download pretrained models into the cache
    Download(DownloadArgs),
    /// Show a model's configuration, tensors and what a strict load says
    Info(InfoArgs),
    /// Measure how fast models run here: time, throughput, memory; layer by layer on request
    Bench(BenchArgs),
    /// Measure accuracy on labelled images: timm's validate.py, per-class results, calibration, an HTML report
    Validate(ValidateArgs),
    /// Write embeddings or maps of many images to one file
    Features(FeaturesArgs),
    /// Hold a model against what timm computed, stage by stage
    Verify(VerifyArgs),
}

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

#[derive(Debug, Args)]
pub struct ClassifyArgs {
    /// Image files, folders (searched throughout), glob patterns, or - for one image on standard input
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<OsString>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub reading: ReadArgs,
    /// How many classes to show an image
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = at_least_one)]
    pub topk: usize,
    /// Images computed at once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = at_least_one)]
    pub batch_size: usize,
    /// How results are written to standard output
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Probabilities or the classifier's raw output
    #[arg(long, value_enum, default_value_t)]
    pub output_type: OutputType,
    /// How a class is called: its name, a description, or a description with definition
    #[arg(long, value_enum, default_value_t)]
    pub label_type: LabelType,
    #[command(flatten)]
    pub transform: TransformArgs,
    /// Also write, into this folder, each image with the places where its best class was seen
    #[arg(long, value_name = "DIR")]
    pub cam: Option<PathBuf>,
}

/// Where and how to compute.
#[derive(Debug, Clone, Args)]
pub struct ComputeArgs {
    /// Where to compute: auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "auto", value_parser = parse::<DeviceChoice>)]
    pub device: DeviceChoice,
    /// How exact the CPU's convolutions are; on other devices it makes no difference
    #[arg(long, value_enum, default_value_t)]
    pub precision: PrecisionChoice,
    /// Threads for decoding and computing [default: RAYON_NUM_THREADS, else all cores]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
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
    /// Winograd's algorithms where they are faster: logits within 1e-4 of the largest
    #[default]
    Fast,
    /// By their definition, rounding as little as PyTorch does
    Exact,
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PrecisionChoice::Fast => "fast",
            PrecisionChoice::Exact => "exact",
        })
    }
}

impl From<PrecisionChoice> for Precision {
    fn from(choice: PrecisionChoice) -> Self {
        match choice {
            PrecisionChoice::Fast => Precision::Fast,
            PrecisionChoice::Exact => Precision::Exact,
        }
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
pub enum Format {
    /// For people: a bar for each class
    #[default]
    Text,
    /// An array with one object an image, in input order
    Json,
    /// The same objects, one a line, as they come
    Jsonl,
    /// One row a class, with a header
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputType {
    /// Softmax over all classes
    #[default]
    Prob,
    /// The output before the softmax
    Logit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LabelType {
    /// The class name only, such as n02123045
    Name,
    /// With the class in words, such as "tabby, tabby cat"
    #[default]
    Description,
    /// With words and definition
    Detailed,
}

#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// Only names that match: * and ? are wildcards, a plain word matches anywhere
    #[arg(value_name = "PATTERN")]
    pub pattern: Option<String>,
    /// A table, or an array of objects
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    #[command(flatten)]
    pub hub: HubArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum TableFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// ARCH[.TAG] or hf-hub:USER/REPO[@REV]
    #[arg(required = true, value_name = "NAME")]
    pub models: Vec<String>,
    #[command(flatten)]
    pub hub: HubArgs,
}

#[derive(Debug, Args)]
pub struct InfoArgs {
    /// A model's name as for --model, a checkpoint file, or a folder with config.json
    #[arg(value_name = "MODEL|PATH")]
    pub target: String,
    /// The architecture a checkpoint file is held against, if its folder has no config.json
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Walk through the network: the shape of every tensor, inside each split attention too
    #[arg(long)]
    pub shapes: bool,
    /// List every tensor with its shape and type
    #[arg(long)]
    pub keys: bool,
    /// How each layer would be computed on this CPU, and its packed size; needs no weights
    #[arg(long)]
    pub plan: bool,
    #[command(flatten)]
    pub planning: PlanArgs,
    /// Input size for --shapes, --plan and the operation count: N or HxW [default: the checkpoint's]
    #[arg(long, value_name = "N|HxW", value_parser = input_size)]
    pub input_size: Option<(u32, u32)>,
    /// For people, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// For what `info --plan` plans.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Images in a batch, for --plan
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one, requires = "plan")]
    pub batch_size: usize,
    /// How exact convolutions are, for --plan
    #[arg(long, value_enum, default_value_t, requires = "plan")]
    pub precision: PrecisionChoice,
    /// Another algorithm for a layer than the cost model's, such as layer1.0.conv2.conv=direct, for --plan (repeatable)
    #[arg(long, value_name = "LAYER=NAME", value_parser = choice, requires = "plan")]
    pub algorithm: Vec<(String, Algorithm)>,
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// `demo`, ARCH[.TAG], hf-hub:USER/REPO[@REV] or local-dir:PATH (repeatable)
    #[arg(long = "model", value_name = "NAME", required = true)]
    pub models: Vec<String>,
    /// Weights from this file for the architecture of the one --model
    #[arg(long, value_name = "FILE", conflicts_with = "random_weights")]
    pub checkpoint: Option<PathBuf>,
    /// Random weights instead of the checkpoint's: no download, and any architecture
    #[arg(long)]
    pub random_weights: bool,
    /// Images computed at once
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one)]
    pub batch_size: usize,
    /// Input size in pixels: N for a square, or HxW [default: the checkpoint's, or 224]
    #[arg(long, value_name = "N|HxW", value_parser = input_size)]
    pub input_size: Option<(u32, u32)>,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Plain candle operations instead of the fused kernels
    #[arg(long, conflicts_with_all = ["precision", "algorithm"])]
    pub unfused: bool,
    /// Another algorithm for a layer than the cost model's, such as layer1.0.conv2.conv=direct (repeatable)
    #[arg(long, value_name = "LAYER=NAME", value_parser = choice)]
    pub algorithm: Vec<(String, Algorithm)>,
    /// Run for so long before measuring; 0 measures from the first run on
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = warmup, allow_negative_numbers = true)]
    pub warmup: Duration,
    /// Measure for so long, but at least 3 runs
    #[arg(long, default_value = "5", value_name = "SECONDS", value_parser = duration, allow_negative_numbers = true)]
    pub duration: Duration,
    /// Layer by layer: algorithm, time and GFLOP/s (of the multiplications the definition has), from profiled runs
    /// between the others
    #[arg(long)]
    pub profile: bool,
    /// A table, or an array of objects
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    #[command(flatten)]
    pub hub: HubArgs,
    /// Measure only the model at this place, in this process, for the process that asks
    #[arg(long, hide = true, value_name = "INDEX")]
    pub only: Option<usize>,
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
fn bytes(text: &str) -> Result<u64, String> {
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
fn choice(text: &str) -> Result<(String, Algorithm), String> {
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

const A_DAY: f64 = 86_400.0;

fn warmup(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=A_DAY).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be 0 or more seconds, at most a day".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= A_DAY => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be more than 0 seconds, at most a day".into()),
    }
}

fn crop_pct(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(pct) if pct > 0.0 && pct <= 8.0 => Ok(pct),
        _ => Err("must be a number above 0, such as 0.875".into()),
    }
}

/// `N` or `HxW` to (height, width).
fn input_size(text: &str) -> Result<(u32, u32), String> {
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
