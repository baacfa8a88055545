//! The options, as clap reads them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use resnest::{CropMode, DeviceChoice, Interpolation, Precision};

/// Classify images with timm's pretrained ResNeSt checkpoints, with the same answers as timm.
#[derive(Debug, Parser)]
#[command(name = "resnest", version, max_term_width = 110, after_help = EXIT_STATUS)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_STATUS: &str = "\
Exit status: 0 all done, 1 some inputs failed, 2 wrong usage, 3 the model could not be had.
Environment: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY, RAYON_NUM_THREADS.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Classify image files, folders, globs, or one image from standard input
    Classify(ClassifyArgs),
    /// List the pretrained models
    Models(ModelsArgs),
    /// Download pretrained models into the cache
    Download(DownloadArgs),
    /// Show a model's configuration, tensors and what a strict load says
    Info(InfoArgs),
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
    pub inputs: Vec<String>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
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
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
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
    /// Input size for --shapes and the operation count: N or HxW [default: the checkpoint's]
    #[arg(long, value_name = "N|HxW", value_parser = input_size)]
    pub input_size: Option<(u32, u32)>,
    /// For people, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    #[command(flatten)]
    pub hub: HubArgs,
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: T::Err| e.to_string())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("must be a whole number of at least 1".into()),
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
