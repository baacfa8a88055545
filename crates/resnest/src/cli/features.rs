//! `resnest features`: embeddings or maps of many images to one file, in constant memory.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use anyhow::{Error, Result, anyhow};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use indicatif::ProgressBar;
use resnest::features::{FeatureFormat, FeatureTable, FeatureWriter, Layer};
use resnest::{Classifier, ClassifierOptions, Pixels};

use super::args::{ComputeArgs, ModelArgs, ReadArgs, TransformArgs, at_least_one, parse};
use super::batches::{self, Batch};
use super::inputs::{Input, expand};
use super::words::{shown, shown_path};
use super::{Failure, Status, load, progress};

#[derive(Debug, Args)]
pub struct FeaturesArgs {
    /// Image files, folders (searched throughout), glob patterns, or - for one image on standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<OsString>,
    /// The file to write; its ending says the format: .safetensors, .npy or .parquet
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(out))]
    out: PathBuf,
    /// Where features are taken: pre_logits (pooled, what enters the classifier), or the map of act1, layer1 ... layer4
    #[arg(long, default_value = "pre_logits", value_parser = parse::<Layer>)]
    stage: Layer,
    /// Images computed at once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = at_least_one)]
    batch_size: usize,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    reading: ReadArgs,
    #[command(flatten)]
    transform: TransformArgs,
}

/// A path whose ending is one of the formats'.
fn out(name: OsString) -> Result<PathBuf, String> {
    OsStr::to_string_lossy(&name).parse::<FeatureFormat>()?;
    Ok(name.into())
}

/// Writes a row for every image the user named; a broken one has a row without features.
pub fn run(args: &FeaturesArgs) -> Result<Status, Failure> {
    let inputs = expand(&args.inputs).map_err(Failure::Usage)?;
    if let Some(reason) = nothing(&inputs) {
        return Err(Failure::Usage(reason));
    }
    // Before the model, which may have to be downloaded: a place that cannot be written to is nobody's work.
    let out = FeatureWriter::reserve(&args.out).map_err(cannot)?;
    let batch = args.batch_size.min(inputs.len());
    let options = ClassifierOptions {
        headless: true,
        ..load::options(&args.model, &args.compute, &args.transform, batch)?
    };
    let classifier = load::open(&args.model, &load::reading(options, &args.reading))?;
    let table = FeatureTable {
        model: classifier.name().to_owned(),
        layer: args.stage.to_string(),
        shape: shape(&classifier, args.stage)?,
        files: inputs.iter().map(Input::name).collect(),
    };
    let mut writer = FeatureWriter::begin(out, table).map_err(cannot)?;
    let bar = progress::images("features", inputs.len(), 0, args.model.hub.quiet);
    let max_bytes = classifier.limits().max_bytes;
    let prepare =
        |input: &Input| -> Result<Pixels> { Ok(classifier.preprocess(&input.read(max_bytes)?)?) };
    let write = |batches| write(&classifier, args.stage, &mut writer, batches, &bar);
    let failed = batches::run(&classifier, &inputs, args.batch_size, prepare, write)??;
    writer.finish().map_err(cannot)?;
    bar.finish_and_clear();
    if !args.model.hub.quiet {
        let images = inputs.len();
        let plural = if images == 1 { "" } else { "s" };
        let out = shown_path(&args.out);
        eprintln!("{images} image{plural}, {failed} failed: {out}");
    }
    Ok(match failed {
        0 => Status::Done,
        _ => Status::SomeFailed,
    })
}

/// Why there is nothing to do, where not one image was found.
fn nothing(inputs: &[Input]) -> Option<Error> {
    let reasons = inputs.iter().map(|input| match input {
        Input::Missing { name, reason } => Some(format!("{name}: {reason}")),
        _ => None,
    });
    let reasons = reasons.collect::<Option<Vec<String>>>()?;
    Some(anyhow!("{}", reasons.join("; ")))
}

fn shape(classifier: &Classifier, stage: Layer) -> Result<Vec<usize>, Failure> {
    let shape = classifier.feature_shape(stage);
    shape.map_err(|error| Failure::Other(error.into()))
}

fn cannot(error: resnest::features::WriteError) -> Failure {
    Failure::Other(error.into())
}

/// Computes the batches as they come and writes them in order; how many images have no features.
fn write(
    classifier: &Classifier,
    stage: Layer,
    writer: &mut FeatureWriter,
    batches: Receiver<Batch<Pixels>>,
    bar: &ProgressBar,
) -> Result<usize, Failure> {
    let mut failed = 0;
    for (inputs, pixels) in batches {
        let rows = classifier.features_prepared(pixels, stage);
        for (input, row) in inputs.iter().zip(rows) {
            let row = row.map_err(|error| batches::reason(&error));
            if let Err(reason) = &row {
                let name = input.name();
                bar.suspend(|| eprintln!("error: {}: {}", shown(&name), shown(reason)));
                failed += 1;
            }
            let row = row.as_deref().map_err(String::as_str);
            writer.push(row).map_err(cannot)?;
        }
        bar.inc(inputs.len() as u64);
    }
    Ok(failed)
}
