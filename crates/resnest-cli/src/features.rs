//! `resnest features`: embeddings or maps of many images to one file, in constant memory.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Error, Result, anyhow};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use indicatif::ProgressBar;
use resnest::features::{FeatureFormat, FeatureTable, FeatureWriter, Layer};
use resnest::{Answered, Classifier};

use super::args::{ComputeArgs, ModelArgs, ReadArgs, TransformArgs, at_least_one, parse};
use super::inputs::{Input, expand, nothing_to_read};
use super::words::{full_message, shown, shown_path};
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
    if let Some(problems) = nothing_to_read(&inputs) {
        let named = inputs.iter().zip(problems);
        let reasons: Vec<String> = named
            .map(|(i, reason)| format!("{}: {reason}", i.name()))
            .collect();
        return Err(Failure::Usage(anyhow!("{}", reasons.join("; "))));
    }
    // Before the model, which may have to be downloaded: a place that cannot be written to is nobody's work.
    let out = FeatureWriter::reserve(&args.out).map_err(cannot)?;
    let batch = args.batch_size.min(inputs.len());
    let mut options = load::options(&args.model, &args.compute, &args.transform, batch)?;
    options.headless = true;
    let classifier = load::open(&args.model, &load::reading(options, &args.reading))?;
    let table = FeatureTable {
        model: classifier.name().to_owned(),
        layer: args.stage.to_string(),
        shape: shape(&classifier, args.stage)?,
        files: inputs.iter().map(Input::name).collect(),
    };
    let mut writer = FeatureWriter::begin(out, table).map_err(cannot)?;
    let bar = progress::images("features", inputs.len(), 0, args.model.hub.quiet);
    let failed = write(&classifier, args, &inputs, &mut writer, &bar)?;
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

fn shape(classifier: &Classifier, stage: Layer) -> Result<Vec<usize>, Failure> {
    let shape = classifier.feature_shape(stage);
    shape.map_err(|error| Failure::Other(error.into()))
}

fn cannot(error: resnest::features::WriteError) -> Failure {
    Failure::Other(error.into())
}

/// Writes a row for each image, in order; how many have no features.
fn write(
    classifier: &Classifier,
    args: &FeaturesArgs,
    inputs: &[Input],
    writer: &mut FeatureWriter,
    bar: &ProgressBar,
) -> Result<usize, Failure> {
    let (mut failed, mut wrong) = (0, Ok(()));
    let max_bytes = classifier.limits().max_bytes;
    let read = |input: &&Input| input.read(max_bytes);
    let mut push = |image: Answered<&Input, Vec<f32>, Error>| {
        let row = image.answer.map_err(|error| full_message(&error));
        if let Err(reason) = &row {
            let name = image.input.name();
            bar.suspend(|| eprintln!("error: {}: {}", shown(&name), shown(reason)));
            failed += 1;
        }
        bar.inc(1);
        writer.push(row.as_deref().map_err(String::as_str))
    };
    let pipeline = classifier.pipeline().batch_size(args.batch_size);
    let ran = pipeline.run(inputs, read, &args.stage, |batch| {
        wrong = batch.into_iter().try_for_each(&mut push);
        match wrong {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    ran.map_err(|error| Failure::Other(error.into()))?;
    wrong.map_err(cannot)?;
    Ok(failed)
}
