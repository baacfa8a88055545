//! The options of `resnest bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use resnest::model::Algorithm;

use crate::args::{ComputeArgs, HubArgs, TableFormat, at_least_one, input_size, layer_algorithm};

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
    #[arg(long, value_name = "LAYER=NAME", value_parser = layer_algorithm)]
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
