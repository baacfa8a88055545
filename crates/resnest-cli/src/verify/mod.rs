//! `resnest verify`: a model held against a recorded reference, or against its own plain composition.

mod itself;
mod table;

use std::path::PathBuf;

use anyhow::{Error, anyhow};
use clap::Args;
use resnest::verify::{Bars, Reference, Report, verify};
use resnest::{Classifier, ClassifierOptions, device_name, precision_name};
use serde_json::json;

use super::args::{
    ComputeArgs, HubArgs, ModelArgs, ReadArgs, TableFormat, TransformArgs, at_least_one,
};
use super::words::shown_lines;
use super::{Failure, Status, load, print};

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// `demo`, ARCH[.TAG], hf-hub:USER/REPO[@REV] or local-dir:PATH
    #[arg(value_name = "MODEL")]
    model: String,
    /// What timm computed, as tests/verify/make_reference.py writes it
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Without a reference: the way it runs here against plain candle operations in f32, and both against f64
    #[arg(long = "self", conflicts_with_all = ["reference", "unfused"])]
    itself: bool,
    /// With --self, this image instead of the bundled photos (repeatable)
    #[arg(long, value_name = "FILE", requires = "itself")]
    image: Vec<PathBuf>,
    /// With --self, so many images of seeded noise instead of the bundled photos
    #[arg(long, value_name = "N", requires = "itself", conflicts_with = "image", value_parser = at_least_one)]
    random: Option<usize>,
    /// Weights from this file (.safetensors, .safetensors.index.json, .pth, .bin) for the architecture MODEL
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    reading: ReadArgs,
    /// Plain candle operations instead of the fused kernels
    #[arg(long, conflicts_with = "precision")]
    unfused: bool,
    /// A table, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    format: TableFormat,
    #[command(flatten)]
    hub: HubArgs,
}

/// Compares and says what came of it: done if every stage passed, else exit status 1.
pub fn run(args: &VerifyArgs) -> Result<Status, Failure> {
    let (classifier, reference) = match &args.reference {
        // The reference first: a wrong path should not cost a download.
        Some(path) => {
            let reference = Reference::open(path).map_err(|e| Failure::Usage(e.into()))?;
            let images = reference.input().dims()[0];
            let mut options = options(args, images)?;
            options.transform = reference.transform();
            options.headless = true;
            (load::open(&model(args), &options)?, reference)
        }
        None if args.itself => itself::subjects(args)?,
        None => {
            let problem = "against what? --reference FILE takes what tests/verify/make_reference.py recorded of timm, --self \
                           this machine's own plain candle operations";
            return Err(Failure::Usage(anyhow!(problem)));
        }
    };
    let bars = bars(&classifier);
    let report = verify(&classifier, &reference, &bars).map_err(refused)?;
    write(args, &classifier, &report)?;
    Ok(match report.passed() {
        true => Status::Done,
        false => Status::SomeFailed,
    })
}

/// A reference of another network was named wrongly; anything else went wrong here.
fn refused(error: resnest::Error) -> Failure {
    match error {
        resnest::Error::Reference { .. } => Failure::Usage(error.into()),
        error => Failure::Other(error.into()),
    }
}

fn model(args: &VerifyArgs) -> ModelArgs {
    ModelArgs {
        model: args.model.clone(),
        checkpoint: args.checkpoint.clone(),
        num_classes: None,
        hub: args.hub.clone(),
    }
}

fn options(args: &VerifyArgs, images: usize) -> Result<ClassifierOptions, Failure> {
    let transform = TransformArgs::default();
    let mut options = load::options(&model(args), &args.compute, &transform, images)?;
    options.model.fuse = !args.unfused;
    Ok(load::reading(options, &args.reading))
}

/// Those of the precision; other devices than the CPU are held to those of `fast`.
fn bars(classifier: &Classifier) -> Bars {
    match classifier.precision() {
        Some(precision) => Bars::of(precision),
        None if classifier.device().is_cpu() => Bars::EXACT,
        None => Bars::FAST,
    }
}

fn write(args: &VerifyArgs, classifier: &Classifier, report: &Report) -> Result<Status, Failure> {
    let device = device_name(classifier.device());
    let mode = precision_name(classifier.precision());
    let text = match args.format {
        TableFormat::Text => {
            let (model, against) = (&report.model, &report.against);
            let head = format!("{model} on {device}, {mode}, against {against}");
            shown_lines(&table::text(&head, report)).into_owned()
        }
        TableFormat::Json => {
            let departure = report.first_departure().map(|stage| &stage.stage);
            let mut object = json!({
                "passed": report.passed(),
                "first_departure": departure,
                "device": device,
                "precision": mode,
            });
            let rest = serde_json::to_value(report).map_err(|e| Failure::Other(Error::from(e)))?;
            if let (Some(object), serde_json::Value::Object(rest)) = (object.as_object_mut(), rest)
            {
                object.extend(rest);
            }
            format!("{object:#}")
        }
    };
    print(&text)
}
