//! `resnest classify`: read and prepare on one thread pool, compute, write; never more than two batches in memory.

use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result};
use resnest::{Classifier, Pixels};

use super::args::ClassifyArgs;
use super::inputs::{Input, expand};
use super::output::{Outcome, Report};
use super::{Failure, Status, load};

/// The images of one batch: what each is called, and its pixels or why there are none.
type Batch = (Vec<String>, Vec<Result<Pixels>>);

/// Classifies everything the user named.
pub fn run(args: &ClassifyArgs) -> Result<Status, Failure> {
    let inputs = expand(&args.inputs).map_err(Failure::Usage)?;
    let batch = args.batch_size.min(inputs.len());
    let classifier = load::classifier(&args.model, &args.compute, &args.transform, batch)?;
    let labels = classifier.labels().clone();
    let mut report = Report::new(BufWriter::new(std::io::stdout().lock()), args, labels);
    let tally = std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        scope.spawn(|| prepare(&classifier, &inputs, args.batch_size, sender));
        compute(&classifier, args.topk, receiver, &mut report)
    })
    .map_err(Failure::Other)?;
    tally.finish(args.model.hub.quiet)
}

/// Reads and prepares batch after batch, until done or until nobody listens any more.
fn prepare(classifier: &Classifier, inputs: &[Input], batch_size: usize, to: SyncSender<Batch>) {
    let max_bytes = classifier.limits().max_bytes;
    for chunk in inputs.chunks(batch_size) {
        let pixels = classifier.prepare_each(chunk, |input| {
            Ok(classifier.preprocess(&input.read(max_bytes)?)?)
        });
        let names = chunk.iter().map(Input::name).collect();
        if to.send((names, pixels)).is_err() {
            return;
        }
    }
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

/// Classifies the batches as they come and writes them in order.
fn compute<W: Write>(
    classifier: &Classifier,
    topk: usize,
    batches: Receiver<Batch>,
    report: &mut Report<W>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    if closed(report.begin())? {
        return Ok(tally);
    }
    for (names, pixels) in batches {
        let outcomes = classifier.classify_prepared(pixels, topk);
        for (name, outcome) in names.into_iter().zip(outcomes) {
            let outcome: Outcome = outcome.map_err(|error| format!("{error:#}"));
            if let Err(reason) = &outcome {
                eprintln!("error: {name}: {reason}");
                tally.failed += 1;
            }
            tally.images += 1;
            if closed(report.image(&name, &outcome))? {
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
