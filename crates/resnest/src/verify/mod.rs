//! Is this network PyTorch's? Every stage held against a recorded reference.
//!
//! `tests/verify/make_reference.py` records what timm computes for some images: the pixels that enter the network, each
//! stage's output in f32 and in f64. [`Reference::open`] reads it, [`verify`] runs the network here on the same input
//! and compares, stage by stage, so that a departure is named where it begins. [`Reference::computed`] makes a
//! reference of this machine's own plain composition instead, to see what the fast path does to it.
//!
//! ```no_run
//! use resnest::verify::{Bars, Reference, verify};
//! use resnest::{Classifier, ClassifierOptions};
//!
//! let reference = Reference::open("ref.safetensors".as_ref())?;
//! let mut options = ClassifierOptions::default();
//! options.transform = reference.transform();
//! let classifier = Classifier::load("resnest50d.in1k", &options)?;
//! let report = verify(&classifier, &reference, &Bars::FAST)?;
//! assert!(report.passed(), "departs at {:?}", report.first_departure());
//! # Ok::<(), resnest::Error>(())
//! ```

mod activations;
mod bars;
mod compare;
mod reference;
mod report;

pub use activations::{Activation, activations};
pub use bars::Bars;
pub use reference::Reference;
pub use report::{Report, StageReport};

use candle_core::Tensor;

use crate::{Classifier, Error, Transform};

/// The stage that prepares images, which comes before timm's.
pub const PREPROCESSING: &str = "preprocessing";

/// Runs `classifier` on the reference's input and compares every stage by `bars`.
///
/// The network gets the input that the reference's network got, so that a difference in preprocessing, which is
/// compared first where the reference holds images, shows nowhere else.
///
/// # Errors
/// [`Error::Reference`] if the reference is of another network (parameters, stages or shapes differ); anything the
/// computation gives.
pub fn verify(
    classifier: &Classifier,
    reference: &Reference,
    bars: &Bars,
) -> Result<Report, Error> {
    reference.check_network(classifier)?;
    let mut stages = Vec::new();
    if !reference.images().is_empty() {
        stages.push(preprocessing(classifier, reference)?);
    }
    let got = activations(classifier, reference.input())?;
    if got.len() != reference.stages().len() {
        return Err(reference.error(format!(
            "it has {} stages, this network {}",
            reference.stages().len(),
            got.len()
        )));
    }
    for (got, recorded) in got.iter().zip(reference.stages()) {
        stages.push(compare::stage(got, recorded, bars, reference)?);
    }
    Ok(Report {
        model: classifier.name().to_owned(),
        against: reference.origin().to_owned(),
        images: reference.input().dim(0)?,
        bars: *bars,
        notes: notes(classifier.transform(), reference),
        stages,
    })
}

/// The recorded images, prepared here, against what entered timm's network: every value must be equal.
fn preprocessing(classifier: &Classifier, reference: &Reference) -> Result<StageReport, Error> {
    let pipeline = classifier.pipeline();
    let prepared = pipeline.map(reference.images(), |(_, bytes)| {
        classifier.preprocess(bytes)
    });
    let mut pixels = Vec::new();
    for ((name, _), prepared) in reference.images().iter().zip(prepared) {
        match prepared {
            Ok(prepared) => pixels.push(prepared),
            Err(error) => {
                let reason = format!("{name}: {}", error.with_causes());
                return Ok(StageReport::failed(PREPROCESSING, reason));
            }
        }
    }
    let here: Tensor = classifier.to_tensor(&pixels.iter().collect::<Vec<_>>())?;
    compare::preprocessing(&here, reference)
}

/// What differs between the reference's preparation of images and the one in force here.
fn notes(here: &Transform, reference: &Reference) -> Vec<String> {
    let Some(there) = reference.recorded_transform() else {
        return Vec::new();
    };
    let (height, width) = here.size;
    let pairs = [
        (
            "input_size",
            format!("{height}x{width}"),
            format!("{}x{}", there.input_size[1], there.input_size[2]),
        ),
        (
            "crop_pct",
            here.crop_pct.to_string(),
            there.crop_pct.to_string(),
        ),
        (
            "crop_mode",
            here.crop_mode.to_string(),
            there.crop_mode.clone(),
        ),
        (
            "interpolation",
            here.interpolation.to_string(),
            there.interpolation.clone(),
        ),
        (
            "mean",
            format!("{:?}", here.mean),
            format!("{:?}", there.mean),
        ),
        ("std", format!("{:?}", here.std), format!("{:?}", there.std)),
    ];
    let differing = pairs.into_iter().filter(|(_, here, there)| here != there);
    differing
        .map(|(field, here, there)| format!("{field} is {here} here, {there} in the reference"))
        .collect()
}
