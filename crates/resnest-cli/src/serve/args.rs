//! What `resnest serve` is told, on the command line or in the environment.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use resnest::{DeviceChoice, MOST_THREADS, WeightsCache};
use resnest_serve::{ModelControl, ModelSpec};

use crate::args::{HubArgs, PrecisionChoice, at_least_one, bytes, parse, threads};

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A model to serve, or several: `demo`, ARCH[.TAG], hf-hub:USER/REPO[@REV], local-dir:PATH, a folder; NAME=SOURCE calls it NAME
    #[arg(
        long,
        value_name = "[NAME=]SOURCE",
        required = true,
        env = "RESNEST_MODEL",
        value_delimiter = ',',
        value_parser = parse::<ModelSpec>
    )]
    pub model: Vec<ModelSpec>,
    /// Where HTTP is answered; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        env = "RESNEST_HTTP"
    )]
    pub http: String,
    /// Where gRPC is answered, or `off`
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9000",
        env = "RESNEST_GRPC"
    )]
    pub grpc: String,
    /// Where to compute: auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "auto", value_parser = parse::<DeviceChoice>, env = "RESNEST_DEVICE")]
    pub device: DeviceChoice,
    /// How exact the CPU's convolutions are; on other devices it makes no difference
    #[arg(long, value_enum, default_value = "auto", env = "RESNEST_PRECISION")]
    pub precision: PrecisionChoice,
    /// Threads that compute, and as many that decode [default: the CPUs that the container or the affinity leaves]
    #[arg(long, value_name = "N", value_parser = threads, env = "RESNEST_THREADS")]
    pub threads: Option<usize>,
    /// Where packed weights are kept and shared with other processes, or `off` [default: ~/.cache/resnest/weights]
    #[arg(long, value_name = "DIR|off", value_parser = parse::<WeightsCache>, env = "RESNEST_WEIGHTS_CACHE")]
    pub weights_cache: Option<WeightsCache>,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = resnest_serve::options::MAX_BATCH, value_parser = batch, env = "RESNEST_MAX_BATCH")]
    pub max_batch: usize,
    /// Images of one model that may be here at once; beyond it requests are answered 429
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = at_least_one, env = "RESNEST_QUEUE")]
    pub queue: usize,
    /// Bytes of a request's body, with K, M or G behind
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = bytes, env = "RESNEST_MAX_BODY")]
    pub max_body: u64,
    /// Pixels of an image
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50_000_000,
        env = "RESNEST_MAX_PIXELS"
    )]
    pub max_pixels: u64,
    /// Memory that decoding one image may take, in bytes or with K, M or G behind
    #[arg(long, value_name = "BYTES", default_value = "512M", value_parser = bytes, env = "RESNEST_MAX_MEMORY")]
    pub max_memory: u64,
    /// Open connections; others wait
    #[arg(long, value_name = "N", default_value_t = 12_000, value_parser = at_least_one, env = "RESNEST_MAX_CONNECTIONS")]
    pub max_connections: usize,
    /// Seconds for the answer, once a request's body is there
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, env = "RESNEST_REQUEST_TIMEOUT")]
    pub request_timeout: Duration,
    /// Seconds until a request's body is there
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, env = "RESNEST_BODY_TIMEOUT")]
    pub body_timeout: Duration,
    /// A file with API keys, one a line; requests must bring one of them
    #[arg(long, value_name = "FILE", env = "RESNEST_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Whose pages may call this server: an origin such as https://example.org, or * (repeatable)
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "RESNEST_CORS_ORIGIN",
        value_delimiter = ',',
        value_parser = origin
    )]
    pub cors_origin: Vec<String>,
    /// Whether clients may load, reload and unload the models
    #[arg(long, value_enum, default_value_t, env = "RESNEST_MODEL_CONTROL")]
    pub model_control: ModelControlChoice,
    /// Seconds that what is in flight has to be answered when the server is told to end
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, env = "RESNEST_DRAIN_TIMEOUT")]
    pub drain_timeout: Duration,
    /// How the log is written, on standard error
    #[arg(long, value_enum, default_value_t, env = "RESNEST_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What the log has: error, warn, info, debug, or as in `warn,resnest_serve=debug`
    #[arg(
        long,
        value_name = "LEVELS",
        default_value = "info",
        env = "RESNEST_LOG"
    )]
    pub log: String,
    /// Where spans are sent: an OpenTelemetry collector's gRPC address such as http://127.0.0.1:4317
    #[arg(long, value_name = "URL", env = "RESNEST_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// Load the models, warm them, answer one image with each, and exit
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// [`ModelControl`] as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ModelControlChoice {
    /// They may not
    #[default]
    None,
    /// They may
    Explicit,
}

impl From<ModelControlChoice> for ModelControl {
    fn from(choice: ModelControlChoice) -> Self {
        match choice {
            ModelControlChoice::None => Self::None,
            ModelControlChoice::Explicit => Self::Explicit,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// For programs, an object a line
    Json,
}

fn batch(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        many if many > 1024 => Err("must be at most 1024".into()),
        number => Ok(number),
    }
}

/// What browsers send as `origin`: no path, not even a slash.
fn origin(text: &str) -> Result<String, String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let fits = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    match text == "*" || host.is_some_and(fits) {
        true => Ok(text.to_owned()),
        false => Err("must be an origin such as https://example.org, without a path, or *".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let bad = || "must be a number of seconds above 0, at most a day".to_owned();
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(bad()),
    }
}

/// Threads to compute on: those asked for, else the CPUs that the container's quota and the process's affinity leave.
pub fn thread_count(asked: Option<usize>) -> usize {
    let there = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.unwrap_or_else(there).min(MOST_THREADS)
}
