//! `resnest classify`: read and prepare beside the network, compute, write; a few batches in memory at most.

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context, Error, Result};
use resnest::explain::{Classes, Maps};
use resnest::{Answered, Classifier, Prediction, Task, TopK};

use super::args::ClassifyArgs;
use super::inputs::{Input, expand};
use super::output::{Answer, Report};
use super::overlays::Overlays;
use super::words::{full_message, shown};
use super::{Failure, Status, load};

/// Classifies everything the user named.
pub fn run(args: &ClassifyArgs) -> Result<Status, Failure> {
    let inputs = expand(&args.inputs).map_err(Failure::Usage)?;
    let batch = args.batch_size.min(inputs.len());
    let options = load::options(&args.model, &args.compute, &args.transform, batch)?;
    let classifier = load::open(&args.model, &load::reading(options, &args.reading))?;
    let tally = match &args.cam {
        None => {
            let task = TopK(args.topk);
            answer_all(&classifier, &inputs, args, &task, |batch| {
                batch.into_iter().map(plain).collect()
            })?
        }
        Some(folder) => {
            let mut overlays = Overlays::new(&classifier, folder)?;
            let (k, classes) = (args.topk, Classes::Top(1));
            let task = Maps { k, classes };
            answer_all(&classifier, &inputs, args, &task, |batch| {
                let written = overlays.write(&classifier, &batch);
                let with_overlay = batch.into_iter().zip(written).map(|(image, overlay)| {
                    let answer = image.answer.map(|mapped| mapped.predictions);
                    reported(image.input, answer, overlay)
                });
                with_overlay.collect()
            })?
        }
    };
    tally.finish(args.model.hub.quiet)
}

fn plain(image: Answered<&Input, Vec<Prediction>, Error>) -> Answer {
    reported(image.input, image.answer, None)
}

fn reported(
    input: &Input,
    answer: Result<Vec<Prediction>>,
    overlay: Option<Result<PathBuf, String>>,
) -> Answer {
    Answer {
        file: input.name(),
        outcome: answer.map_err(|error| full_message(&error)),
        overlay,
    }
}

/// Answers every input and writes the answers in order, as batches come.
fn answer_all<'a, T: Task>(
    classifier: &Classifier,
    inputs: &'a [Input],
    args: &ClassifyArgs,
    task: &T,
    mut answers: impl FnMut(Vec<Answered<&'a Input, T::Answer, Error>>) -> Vec<Answer>,
) -> Result<Tally, Failure> {
    let labels = classifier.labels().clone();
    let mut report = Report::new(BufWriter::new(std::io::stdout().lock()), args, labels);
    let mut tally = Tally::default();
    if closed(report.begin()).map_err(Failure::Other)? {
        return Ok(tally);
    }
    let max_bytes = classifier.limits().max_bytes;
    let read = |input: &&Input| input.read(max_bytes);
    let pipeline = classifier.pipeline().batch_size(args.batch_size);
    let pipeline = pipeline.keep_photos(args.cam.is_some());
    let mut wrong = Ok(());
    let ran = pipeline.run(inputs, read, task, |batch| {
        match write(answers(batch), &mut report, &mut tally) {
            Ok(flow) => flow,
            Err(error) => {
                wrong = Err(error);
                ControlFlow::Break(())
            }
        }
    });
    wrong.map_err(Failure::Other)?;
    let ran = ran.map_err(|error| Failure::Other(error.into()))?;
    if !ran.stopped {
        closed(report.end()).map_err(Failure::Other)?;
    }
    Ok(tally)
}

/// Writes a batch's answers; stops where nobody reads them any more.
fn write<W: Write>(
    answers: Vec<Answer>,
    report: &mut Report<W>,
    tally: &mut Tally,
) -> Result<ControlFlow<()>> {
    for answer in answers {
        if let Some(reason) = answer.failure() {
            eprintln!("error: {}: {}", shown(&answer.file), shown(reason));
            tally.failed += 1;
        }
        tally.images += 1;
        if closed(report.image(&answer))? {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
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

/// Whether the reader of standard output has gone (`| head`): no reason to complain, only to stop.
fn closed(written: std::io::Result<()>) -> Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}
