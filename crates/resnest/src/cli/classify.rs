//! `resnest classify`: read and prepare on one thread pool, compute, write; never more than two batches in memory.

use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result};
use resnest::explain::Classes;
use resnest::image::decode_as;
use resnest::{Classifier, Image, Pixels};

use super::args::ClassifyArgs;
use super::inputs::{Input, expand};
use super::output::{Answer, Report};
use super::overlays::Overlays;
use super::{Failure, Status, load};

/// The images of one batch, and of each its pixels or why there are none.
struct Batch<'a> {
    inputs: &'a [Input],
    pixels: Vec<Result<Pixels>>,
    /// The decoded images, if overlays are wanted.
    photos: Vec<Option<Image>>,
}

/// Classifies everything the user named.
pub fn run(args: &ClassifyArgs) -> Result<Status, Failure> {
    let inputs = expand(&args.inputs).map_err(Failure::Usage)?;
    let batch = args.batch_size.min(inputs.len());
    let classifier = load::classifier(&args.model, &args.compute, &args.transform, batch)?;
    let mut overlays = match &args.cam {
        Some(folder) => Some(Overlays::new(&classifier, folder)?),
        None => None,
    };
    let labels = classifier.labels().clone();
    let mut report = Report::new(BufWriter::new(std::io::stdout().lock()), args, labels);
    let tally = std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        scope.spawn(|| {
            prepare(
                &classifier,
                &inputs,
                args.batch_size,
                args.cam.is_some(),
                sender,
            )
        });
        let answer = |batch| answer(&classifier, args.topk, overlays.as_mut(), batch);
        compute(answer, receiver, &mut report)
    })
    .map_err(Failure::Other)?;
    tally.finish(args.model.hub.quiet)
}

/// Reads and prepares batch after batch, until done or until nobody listens any more.
fn prepare<'a>(
    classifier: &Classifier,
    inputs: &'a [Input],
    batch_size: usize,
    keep_photos: bool,
    to: SyncSender<Batch<'a>>,
) {
    let limits = classifier.limits();
    let mode = classifier.transform().color_mode();
    for inputs in inputs.chunks(batch_size) {
        let prepared = classifier.prepare_each(inputs, |input| {
            let photo = decode_as(&input.read(limits.max_bytes)?, mode, limits)?;
            Ok((
                classifier.preprocess_rgb(&photo)?,
                keep_photos.then_some(photo),
            ))
        });
        let (pixels, photos) = prepared
            .into_iter()
            .map(|one| match one {
                Ok((pixels, photo)) => (Ok(pixels), photo),
                Err(error) => (Err(error), None),
            })
            .unzip();
        let batch = Batch {
            inputs,
            pixels,
            photos,
        };
        if to.send(batch).is_err() {
            return;
        }
    }
}

/// What is said of each image of a batch, with its overlay where one is wanted.
fn answer(
    classifier: &Classifier,
    topk: usize,
    overlays: Option<&mut Overlays>,
    batch: Batch,
) -> Vec<Answer> {
    let names = batch.inputs.iter().map(Input::name);
    let Some(overlays) = overlays else {
        let outcomes = classifier.classify_prepared(batch.pixels, topk);
        let answers = names.zip(outcomes).map(|(file, outcome)| Answer {
            file,
            outcome: outcome.map_err(|error| format!("{error:#}")),
            overlay: None,
        });
        return answers.collect();
    };
    let mapped = classifier.cam_prepared(batch.pixels, topk, &Classes::Top(1));
    let written = overlays.write(classifier, batch.inputs, &mapped, &batch.photos);
    let answers = names
        .zip(mapped)
        .zip(written)
        .map(|((file, mapped), overlay)| Answer {
            file,
            outcome: match mapped {
                Ok(mapped) => Ok(mapped.predictions),
                Err(error) => Err(format!("{error:#}")),
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
    mut answer: impl FnMut(Batch<'a>) -> Vec<Answer>,
    batches: Receiver<Batch<'a>>,
    report: &mut Report<W>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    if closed(report.begin())? {
        return Ok(tally);
    }
    for batch in batches {
        for answer in answer(batch) {
            if let Some(reason) = answer.failure() {
                eprintln!("error: {}: {reason}", answer.file);
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
