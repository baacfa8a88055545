//! `resnest classify`: read and prepare on one thread pool, compute, write; a few batches in memory at most.

use std::io::{BufWriter, Write};
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result};
use resnest::explain::Classes;
use resnest::{Classifier, Image, Pixels};

use super::args::ClassifyArgs;
use super::batches::{self, Batch};
use super::inputs::{Input, expand};
use super::output::{Answer, Report};
use super::overlays::Overlays;
use super::words::shown;
use super::{Failure, Status, load};

/// An image ready for the network; decoded too, if its overlay is wanted.
type Prepared = (Pixels, Option<Image>);

/// Classifies everything the user named.
pub fn run(args: &ClassifyArgs) -> Result<Status, Failure> {
    let inputs = expand(&args.inputs).map_err(Failure::Usage)?;
    let batch = args.batch_size.min(inputs.len());
    let options = load::options(&args.model, &args.compute, &args.transform, batch)?;
    let classifier = load::open(&args.model, &load::reading(options, &args.reading))?;
    let mut overlays = match &args.cam {
        Some(folder) => Some(Overlays::new(&classifier, folder)?),
        None => None,
    };
    let labels = classifier.labels().clone();
    let mut report = Report::new(BufWriter::new(std::io::stdout().lock()), args, labels);
    let prepare = |input: &Input| prepare(&classifier, input, args.cam.is_some());
    let answer = |batch| answer(&classifier, args.topk, overlays.as_mut(), batch);
    let tally = batches::run(&classifier, &inputs, args.batch_size, prepare, |batches| {
        compute(answer, batches, &mut report)
    })?
    .map_err(Failure::Other)?;
    tally.finish(args.model.hub.quiet)
}

fn prepare(classifier: &Classifier, input: &Input, keep_photo: bool) -> Result<Prepared> {
    let bytes = input.read(classifier.limits().max_bytes)?;
    let (photo, pixels) = classifier.preprocess_photo(&bytes)?;
    Ok((pixels, keep_photo.then_some(photo)))
}

/// What is said of each image of a batch, with its overlay where one is wanted.
fn answer(
    classifier: &Classifier,
    topk: usize,
    overlays: Option<&mut Overlays>,
    (inputs, prepared): Batch<Prepared>,
) -> Vec<Answer> {
    let names = inputs.iter().map(Input::name);
    let split = prepared.into_iter().map(|one| match one {
        Ok((pixels, photo)) => (Ok(pixels), photo),
        Err(error) => (Err(error), None),
    });
    let (pixels, photos): (Vec<_>, Vec<_>) = split.unzip();
    let Some(overlays) = overlays else {
        let outcomes = classifier.classify_prepared(pixels, topk);
        let answers = names.zip(outcomes).map(|(file, outcome)| Answer {
            file,
            outcome: outcome.map_err(|error| batches::reason(&error)),
            overlay: None,
        });
        return answers.collect();
    };
    let mapped = classifier.cam_prepared(pixels, topk, &Classes::Top(1));
    let written = overlays.write(classifier, inputs, &mapped, &photos);
    let answers = names
        .zip(mapped)
        .zip(written)
        .map(|((file, mapped), overlay)| Answer {
            file,
            outcome: match mapped {
                Ok(mapped) => Ok(mapped.predictions),
                Err(error) => Err(batches::reason(&error)),
            },
            overlay,
        });
    answers.collect()
}

#[derive(Default)]
struct Tally {
    images: usize,
    failed: usize,
}

impl Tally {
    fn finish(self, quiet: bool) -> Result<Status, Failure> {
        if self.failed > 0 && !quiet {
            eprintln!("{} of {} images failed", self.failed, self.images);
        }
        Ok(match self.failed {
            0 => Status::Done,
            _ => Status::SomeFailed,
        })
    }
}

/// Answers the batches as they come and writes the answers in order.
fn compute<'a, W: Write>(
    mut answer: impl FnMut(Batch<'a, Prepared>) -> Vec<Answer>,
    batches: Receiver<Batch<'a, Prepared>>,
    report: &mut Report<W>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    if closed(report.begin())? {
        return Ok(tally);
    }
    for batch in batches {
        for answer in answer(batch) {
            if let Some(reason) = answer.failure() {
                eprintln!("error: {}: {}", shown(&answer.file), shown(reason));
                tally.failed += 1;
            }
            tally.images += 1;
            if closed(report.image(&answer))? {
                return Ok(tally);
            }
        }
    }
    closed(report.end())?;
    Ok(tally)
}

/// Whether the reader of standard output has gone (`| head`): no reason to complain, only to stop.
fn closed(written: std::io::Result<()>) -> Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}
