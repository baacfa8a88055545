//! `resnest classify`: read and prepare beside the network, compute, write; a few batches in memory at most.

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context, Error, Result};
use clap::Args;
use resnest::explain::{Classes, Maps};
use resnest::{Answered, Classifier, Labels, Prediction, Task, TopK};

use super::args::{ComputeArgs, ModelArgs, ReadArgs, TransformArgs, at_least_one};
use super::inputs::{Input, expand, nothing_to_read};
use super::output::{Answer, Format, LabelType, OutputType, Report};
use super::overlays::Overlays;
use super::words::{full_message, shown};
use super::{Failure, Status, load};

#[derive(Debug, Args)]
pub struct ClassifyArgs {
    /// Image files, folders (searched throughout), glob patterns, or - for one image on standard input
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<OsString>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub reading: ReadArgs,
    /// How many classes to show an image
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = at_least_one)]
    pub topk: usize,
    /// Images computed at once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = at_least_one)]
    pub batch_size: usize,
    /// How results are written to standard output
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Probabilities or the classifier's raw output
    #[arg(long, value_enum, default_value_t)]
    pub output_type: OutputType,
    /// How a class is called: its name, a description, or a description with definition
    #[arg(long, value_enum, default_value_t)]
    pub label_type: LabelType,
    #[command(flatten)]
    pub transform: TransformArgs,
    /// Also write, into this folder, each image with the places where its best class was seen
    #[arg(long, value_name = "DIR")]
    pub cam: Option<PathBuf>,
}

/// Classifies everything the user named.
pub fn run(args: &ClassifyArgs) -> Result<Status, Failure> {
    let inputs = expand(&args.inputs).map_err(Failure::Usage)?;
    if let Some(problems) = nothing_to_read(&inputs) {
        return refuse_all(&inputs, problems, args);
    }
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

/// The report of inputs none of which can be read, without a model.
fn refuse_all(
    inputs: &[Input],
    problems: Vec<String>,
    args: &ClassifyArgs,
) -> Result<Status, Failure> {
    let out = BufWriter::new(std::io::stdout().lock());
    let mut report = Report::new(out, args, Labels::numbered(0));
    let mut tally = Tally::default();
    let answers = inputs.iter().zip(problems).map(|(input, reason)| Answer {
        file: input.name(),
        outcome: Err(reason),
        overlay: None,
    });
    let report_all = || -> Result<()> {
        if !closed(report.begin())?
            && write(answers.collect(), &mut report, &mut tally)?.is_continue()
        {
            closed(report.end())?;
        }
        Ok(())
    };
    report_all().map_err(Failure::Other)?;
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
