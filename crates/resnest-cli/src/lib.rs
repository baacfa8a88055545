//! The `resnest` command: one match over the commands, and the exit status they end with.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod cam_files;
mod classify;
mod download;
mod explain;
mod features;
mod info;
mod inputs;
mod load;
mod models;
mod network;
mod output;
mod overlays;
mod plan;
mod progress;
mod quantize;
#[cfg(feature = "serve")]
mod serve;
mod validate;
mod verify;
mod words;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use bench::BenchArgs;
use classify::ClassifyArgs;
use download::DownloadArgs;
use explain::ExplainArgs;
use features::FeaturesArgs;
use info::InfoArgs;
use models::ModelsArgs;
use quantize::QuantizeArgs;
#[cfg(feature = "serve")]
use serve::ServeArgs;
use validate::ValidateArgs;
use verify::VerifyArgs;

use resnest::image::contain;
use words::shown_lines;

/// timm's ResNet-family image classifiers (ResNet, ResNeSt, ResNeXt, SE, ECA, SK, Res2Net): the same weights, pixels and
/// logits as timm.
#[derive(Debug, Parser)]
#[command(name = "resnest", version, max_term_width = 110, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status: 0 all done, 1 some inputs failed, 2 wrong usage, 3 the model could not be had,
130 interrupted.
Environment: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY, RAYON_NUM_THREADS.";

#[derive(Debug, Subcommand)]
enum Command {
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
    /// Answer over HTTP and gRPC: the Open Inference Protocol, images in and classes out, a page to look at
    #[cfg(feature = "serve")]
    Serve(Box<ServeArgs>),
    /// Measure accuracy on labelled images: timm's validate.py, per-class results, calibration, an HTML report
    Validate(ValidateArgs),
    /// Turn a model into 8-bit integers, calibrated on images: a checkpoint for --precision int8
    Quantize(QuantizeArgs),
    /// Write embeddings or maps of many images to one file
    Features(FeaturesArgs),
    /// Hold a model against what timm computed, stage by stage
    Verify(VerifyArgs),
}

/// How a command that ran ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Everything asked for was done: exit status 0.
    Done,
    /// Some inputs failed, the others were done: exit status 1.
    SomeFailed,
    /// Stopped by Ctrl-C, what was done until then said: exit status 130.
    Interrupted,
}

/// Why a command could not run.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Anything that is nobody's option or model: exit status 1.
    Other(anyhow::Error),
    /// Options that make no sense: exit status 2, as clap's own.
    Usage(anyhow::Error),
    /// The model could not be had: exit status 3.
    Model(anyhow::Error),
}

impl Failure {
    /// The failure that ends with this exit status.
    fn new(status: u8, error: anyhow::Error) -> Self {
        match status {
            2 => Self::Usage(error),
            3 => Self::Model(error),
            _ => Self::Other(error),
        }
    }

    fn status(&self) -> u8 {
        match self {
            Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::Model(_) => 3,
        }
    }

    fn error(&self) -> &anyhow::Error {
        match self {
            Self::Other(error) | Self::Usage(error) | Self::Model(error) => error,
        }
    }

    /// The error and its causes, in the words of the command.
    fn message(&self) -> String {
        words::full_message(self.error())
    }
}

/// Runs `work`; a panic in it is an error like any other, and nothing is printed.
fn contained<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    contain(work).unwrap_or_else(|detail| {
        Err(anyhow::anyhow!(
            "it failed in a way it should not ({detail}): please report this image"
        ))
    })
}

/// The command's options, for what describes them: man pages, shell completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads the options, runs the command, reports on standard error and returns the exit status.
pub fn main() -> ExitCode {
    ExitCode::from(run_with(std::env::args_os()))
}

/// The same with these arguments, the first of them the program's name; the exit status as a number.
pub fn run_with(arguments: impl IntoIterator<Item: Into<OsString> + Clone>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help too; where nobody reads, there is nobody to tell.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    // The last resort: what panics on this thread is said like any other error.
    let ended = contain(|| run(&cli.command)).unwrap_or_else(|detail| {
        let problem = anyhow::anyhow!("{detail}: this should not have happened, please report it");
        Err(Failure::Other(problem))
    });
    match ended {
        Ok(Status::Done) => 0,
        Ok(Status::SomeFailed) => 1,
        Ok(Status::Interrupted) => validate::INTERRUPTED,
        Err(failure) => {
            eprintln!("error: {}", shown_lines(&failure.message()));
            failure.status()
        }
    }
}

fn run(command: &Command) -> Result<Status, Failure> {
    match command {
        Command::Classify(args) => classify::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Models(args) => models::run(args),
        Command::Download(args) => download::run(args),
        Command::Info(args) => info::run(args),
        Command::Bench(args) => bench::run(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args),
        Command::Validate(args) => validate::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Features(args) => features::run(args),
        Command::Verify(args) => verify::run(args),
    }
}

/// Writes to standard output; a reader that has gone (`| head`) is no error.
fn print(text: &str) -> Result<Status, Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Other(
            anyhow::Error::from(error).context("cannot write to standard output"),
        )),
        _ => Ok(Status::Done),
    }
}
