//! What `resnest validate` is asked.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use resnest::DeviceChoice;

use super::super::args::{
    CacheArgs, ComputeArgs, HubArgs, PrecisionChoice, ReadArgs, TableFormat, TransformArgs,
    at_least_one, parse, threads,
};

#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// A folder of class folders; a .tar of such; WebDataset shards, 'shard-{000..146}.tar' or a glob
    #[arg(value_name = "DATA")]
    pub data: OsString,
    /// `demo`, ARCH[.TAG], hf-hub:USER/REPO[@REV] or local-dir:PATH; * and ? are wildcards over `resnest models`
    /// (repeatable)
    #[arg(long = "model", value_name = "NAME", default_value = "resnest50d.in1k")]
    pub models: Vec<String>,
    /// Weights from this file for the architecture of the one --model
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    #[command(flatten)]
    pub labels: LabelArgs,
    /// Only the first N images of the data set's order
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub num_samples: Option<usize>,
    #[command(flatten)]
    pub transform: TransformArgs,
    /// At input sizes above the checkpoint's, pool in windows of its size (crop_pct is then 1)
    #[arg(long)]
    pub test_pool: bool,
    /// Images computed at once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = at_least_one)]
    pub batch_size: usize,
    /// Threads that read, decode and resize beside the network [default: as many as --threads]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub workers: Option<usize>,
    /// Where to compute: auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "auto", value_parser = parse::<DeviceChoice>)]
    pub device: DeviceChoice,
    /// How exact the CPU's convolutions are; several, such as f32,bf16,int8, are validated one after the other and compared
    /// with the first. On other devices it makes no difference
    #[arg(long, value_enum, value_delimiter = ',', default_value = "auto")]
    pub precision: Vec<PrecisionChoice>,
    /// Threads for decoding and computing [default: RAYON_NUM_THREADS, else all cores]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub reading: ReadArgs,
    /// Stop at the first image that cannot be read
    #[arg(long)]
    pub strict: bool,
    /// What is written to standard output: a summary, or everything in an array with one object per model
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    #[command(flatten)]
    pub files: FileArgs,
    #[command(flatten)]
    pub hub: HubArgs,
}

impl ValidateArgs {
    /// Where and how one of the precisions is computed.
    pub fn compute(&self, precision: PrecisionChoice) -> ComputeArgs {
        ComputeArgs {
            device: self.device,
            precision,
            threads: self.threads,
            cache: self.cache.clone(),
        }
    }
}

/// What the images show.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// Text file with the class folder of index 0 in its first line, and so on
    #[arg(long, value_name = "FILE")]
    pub class_map: Option<PathBuf>,
    /// Text file with the class indices that take part, one a line; folders are numbered among them
    #[arg(long, value_name = "FILE")]
    pub valid_labels: Option<PathBuf>,
    /// ImageNet ReaL's real.json: count top-1 and top-5 by its labels of ILSVRC2012_val_*
    #[arg(long, value_name = "FILE", conflicts_with = "valid_labels")]
    pub real_labels: Option<PathBuf>,
}

/// What is written to files.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// timm's table of results, one row per model, best first
    #[arg(long, value_name = "FILE")]
    pub results_file: Option<PathBuf>,
    /// csv or json [default: by the ending of --results-file, else csv]
    #[arg(long, value_enum, requires = "results_file")]
    pub results_format: Option<ResultsFormat>,
    /// One page for people: classes, confusions, worst mistakes with pictures; needs no network
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Every image's outcome as it comes, JSON lines; no other run may write to it
    #[arg(long, value_name = "FILE")]
    pub outcomes: Option<PathBuf>,
    /// Go on from the --outcomes of an interrupted run
    #[arg(long, requires = "outcomes")]
    pub resume: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResultsFormat {
    Csv,
    Json,
}
