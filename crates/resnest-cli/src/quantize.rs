//! `resnest quantize`: a checkpoint of 8-bit integers, calibrated on the user's images.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use anyhow::{Error, anyhow};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use resnest::output::Output;
use resnest::quantize::{Options, Quantized, Quantizer, evenly_spaced};
use resnest::{ClassifierOptions, DeviceChoice, ModelSource};

use super::args::{
    CacheArgs, ComputeArgs, HubArgs, ModelArgs, PrecisionChoice, ReadArgs, TransformArgs,
    at_least_one, threads,
};
use super::inputs::{Input, expand, nothing_to_read};
use super::words::{shown, shown_path};
use super::{Failure, Status, load, progress};

/// Images computed at once.
const BATCH: usize = 8;

#[derive(Debug, Args)]
pub struct QuantizeArgs {
    /// `demo`, ARCH[.TAG], hf-hub:USER/REPO[@REV] or local-dir:PATH
    #[arg(value_name = "MODEL")]
    model: String,
    /// Images of the kind that will be classified: files, folders (searched throughout), glob patterns (repeatable)
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    images: Vec<OsString>,
    /// How many of them to look at, evenly spaced over all in their order
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = at_least_one)]
    samples: usize,
    /// The checkpoint to write, FILE.safetensors
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(out))]
    out: PathBuf,
    /// Leave this convolution in f32, such as layer1.0.conv1 (repeatable)
    #[arg(long, value_name = "LAYER")]
    keep: Vec<String>,
    /// Weights from this file (.safetensors, .safetensors.index.json, .pth, .bin) for the architecture MODEL
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Threads for decoding and computing [default: RAYON_NUM_THREADS, else all cores]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<usize>,
    #[command(flatten)]
    reading: ReadArgs,
    #[command(flatten)]
    transform: TransformArgs,
    #[command(flatten)]
    hub: HubArgs,
}

/// A path that readers of checkpoints know the format by.
fn out(name: OsString) -> Result<PathBuf, String> {
    let path = PathBuf::from(name);
    match path.extension() == Some(OsStr::new("safetensors")) {
        true => Ok(path),
        false => Err("its name must end in .safetensors".into()),
    }
}

/// Calibrates and writes; status 1 if an image could not be read and was left out.
pub fn run(args: &QuantizeArgs) -> Result<Status, Failure> {
    let inputs = chosen(args)?;
    // Before the model, which may have to be downloaded: a place that cannot be written to is nobody's work.
    let output = Output::create(&args.out).map_err(|e| cannot(args, e))?;
    let quantizer = quantizer(args)?;
    let max_bytes = quantizer.classifier().limits().max_bytes;
    let bar = progress::images("calibrating", inputs.len(), 0, args.hub.quiet);
    let mut failed = 0;
    let read = |at: usize| match inputs.get(at) {
        Some(input) => input
            .read(max_bytes)
            .map_err(|e| std::io::Error::other(format!("{e:#}"))),
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    let quantized = quantizer.run(inputs.len(), read, |looked| {
        if let Some(reason) = looked.failure {
            failed += 1;
            let name = inputs
                .get(looked.index)
                .map(Input::name)
                .unwrap_or_default();
            bar.suspend(|| eprintln!("error: {}: {}", shown(&name), shown(&reason)));
        }
        bar.inc(1);
    });
    bar.finish_and_clear();
    let quantized = quantized.map_err(refused)?;
    quantized.write_to(output).map_err(|e| cannot(args, e))?;
    if !args.hub.quiet {
        eprintln!("{}", said(args, &quantized));
    }
    Ok(match failed {
        0 => Status::Done,
        _ => Status::SomeFailed,
    })
}

/// The images to look at, in order.
fn chosen(args: &QuantizeArgs) -> Result<Vec<Input>, Failure> {
    if args.images.iter().any(|name| name == "-") {
        let problem = "--images takes files, folders and patterns, not standard input";
        return Err(Failure::Usage(anyhow!(problem)));
    }
    let inputs = expand(&args.images).map_err(Failure::Usage)?;
    if let Some(problems) = nothing_to_read(&inputs) {
        let named = inputs.iter().zip(problems);
        let reasons: Vec<String> = named
            .map(|(i, reason)| format!("{}: {reason}", i.name()))
            .collect();
        return Err(Failure::Usage(anyhow!("{}", reasons.join("; "))));
    }
    let taken = evenly_spaced(inputs.len(), args.samples);
    Ok(taken
        .into_iter()
        .filter_map(|at| inputs.get(at).cloned())
        .collect())
}

fn quantizer(args: &QuantizeArgs) -> Result<Quantizer, Failure> {
    let (options, mut how) = (options(args)?, Options::default());
    how.keep = args.keep.clone();
    let loaded = match &args.checkpoint {
        None => Quantizer::load(&args.model, &options, how),
        Some(path) => {
            let source = ModelSource::File {
                path: path.clone(),
                architecture: Some(args.model.clone()),
            };
            Quantizer::from_source(&source, &options, how)
        }
    };
    let quantizer = loaded.map_err(|error| load::failure(&args.model, error))?;
    load::warn(quantizer.classifier().warnings(), args.hub.quiet);
    Ok(quantizer)
}

fn options(args: &QuantizeArgs) -> Result<ClassifierOptions, Failure> {
    let model = ModelArgs {
        model: args.model.clone(),
        checkpoint: args.checkpoint.clone(),
        num_classes: None,
        hub: args.hub.clone(),
    };
    let compute = ComputeArgs {
        device: DeviceChoice::Cpu,
        precision: PrecisionChoice::Auto,
        threads: args.threads,
        cache: CacheArgs::default(), // of a network that is not fused nothing is kept
    };
    let options = load::options(&model, &compute, &args.transform, BATCH)?;
    Ok(load::reading(options, &args.reading))
}

/// What was done, and what to do next.
fn said(args: &QuantizeArgs, quantized: &Quantized) -> String {
    let (layers, kept) = (quantized.inputs().len(), quantized.kept().len());
    let size = std::fs::metadata(&args.out).map_or(0, |file| file.len());
    let file = shown_path(&args.out);
    format!(
        "{file}: {layers} convolutions in int8, {kept} in f32, calibrated on {} images, {:.1} MB\n\
         what it costs: resnest validate DATA --model {} --checkpoint {file} --precision fast,int8",
        quantized.images(),
        size as f64 / 1e6,
        shown(&args.model),
    )
}

/// A layer that is not there is wrong usage.
fn refused(error: resnest::Error) -> Failure {
    match error {
        resnest::Error::NoSuchLayer { .. } => Failure::Usage(error.into()),
        error => Failure::Other(error.into()),
    }
}

fn cannot(args: &QuantizeArgs, error: std::io::Error) -> Failure {
    Failure::Other(Error::from(error).context(format!("cannot write {}", shown_path(&args.out))))
}
