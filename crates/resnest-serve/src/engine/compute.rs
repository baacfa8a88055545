//! The thread that computes, batch after batch.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use resnest::explain::{Classes, Maps};
use resnest::image::contain;
use resnest::{Classifier, Error, Outputs, Pixels, TopK};

use super::Shared;
use super::job::{Answer, Explanation, Ready, Ticket, Wants};
use super::queue::Entry;
use crate::failure::Kind;
use crate::{Failure, Outcome};

/// Computes until the engine is gone; what was taken is answered.
pub(super) fn run(shared: &Shared) {
    while let Some((model, batch)) = next(shared) {
        shared.pulse.begin();
        let start = Instant::now();
        // Whatever is lost in a panic, its clients hear so: their end of the channel is gone.
        let failed = contain(|| {
            #[cfg(test)]
            shared.faults.computing();
            compute(batch)
        });
        shared.pulse.end(failed.unwrap_or_else(Some));
        let mut work = shared.work();
        work.queues.computed(model, start.elapsed());
        work.moved = Instant::now();
    }
}

/// The next batch, waited for.
fn next(shared: &Shared) -> Option<(u64, Vec<Ready>)> {
    let mut work = shared.work();
    loop {
        if work.over {
            return None;
        }
        if let Some(batch) = work.queues.take_batch() {
            drop(work);
            // There is room for so many more.
            shared.to_decode.notify_all();
            return Some(batch);
        }
        let waited = shared.to_compute.wait(work);
        work = waited.unwrap_or_else(PoisonError::into_inner);
    }
}

/// Answers every image of the batch; says why the server could answer none of them, if so.
fn compute(batch: Vec<Ready>) -> Option<String> {
    let (alone, together): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .partition(|ready| matches!(ready.ticket.wants, Wants::Explanation { .. }));
    let mut failures = Failures::default();
    if !together.is_empty() {
        numbers(together, &mut failures);
    }
    for ready in alone {
        // It may have left while those before it were explained.
        if ready.abandoned() {
            continue;
        }
        explain(ready, &mut failures);
    }
    failures.all()
}

/// One forward for all of them.
fn numbers(batch: Vec<Ready>, failures: &mut Failures) {
    let count = batch.len();
    let start = Instant::now();
    let mut task = Outputs {
        logits: false,
        embeddings: false,
    };
    let mut tickets = Vec::with_capacity(count);
    let mut prepared = Vec::with_capacity(count);
    for ready in batch {
        if let Wants::Outputs { logits, embeddings } = ready.ticket.wants {
            task.logits |= logits;
            task.embeddings |= embeddings;
        }
        tickets.push(ready.ticket);
        prepared.push(Ok::<_, Error>(ready.pixels));
    }
    let Some(model) = tickets.first().map(|ticket| ticket.model.clone()) else {
        return;
    };
    let classifier = &model.classifier;
    let mut answers = classifier
        .pipeline()
        .batch_size(count)
        .answer(prepared, &task)
        .into_iter();
    let took = start.elapsed();
    model.metrics.batch(count, took);
    for ticket in tickets {
        let answer = match answers.next() {
            Some(answer) => answer.map(Answer::Output).map_err(Failure::from),
            None => Err(Failure::internal(
                "the network gave no answer: please report this",
            )),
        };
        failures.see(&answer);
        finish(ticket, answer, (took, count));
    }
}

fn explain(ready: Ready, failures: &mut Failures) {
    let start = Instant::now();
    let Ready {
        ticket,
        pixels,
        photo,
    } = ready;
    let Wants::Explanation { k, maps, splits } = ticket.wants else {
        return;
    };
    let model = ticket.model.clone();
    let work = || explanation(&model.classifier, pixels, (k, maps, splits));
    let answer = contain(work).unwrap_or_else(|detail| Err(Failure::internal(detail)));
    let answer = answer.map(|mut explanation| {
        explanation.photo = photo;
        Answer::Explanation(Box::new(explanation))
    });
    let took = start.elapsed();
    model.metrics.batch(1, took);
    failures.see(&answer);
    finish(ticket, answer, (took, 1));
}

fn explanation(
    classifier: &Classifier,
    pixels: Pixels,
    (k, maps, splits): (usize, bool, bool),
) -> Outcome<Explanation> {
    let splits = match splits {
        true => classifier.split_weights_of(&pixels)?,
        false => Vec::new(),
    };
    let pipeline = classifier.pipeline().batch_size(1);
    let missing = || Failure::internal("the network gave no answer: please report this");
    let prepared = vec![Ok::<_, Error>(pixels)];
    let (predictions, maps) = if maps {
        let classes = Classes::Top(k);
        let mut answers = pipeline.answer(prepared, &Maps { k, classes });
        let mapped = answers.pop().ok_or_else(missing)??;
        (mapped.predictions, mapped.maps)
    } else {
        let mut answers = pipeline.answer(prepared, &TopK(k));
        (answers.pop().ok_or_else(missing)??, Vec::new())
    };
    Ok(Explanation {
        predictions,
        maps,
        splits,
        photo: None,
    })
}

fn finish(mut ticket: Ticket, answer: Outcome<Answer>, (took, batch): (Duration, usize)) {
    ticket.times.inference = took;
    ticket.times.batch = batch;
    ticket.answer(answer);
}

/// Whether anything of a batch went well.
#[derive(Debug, Default)]
struct Failures {
    well: bool,
    reason: Option<String>,
}

impl Failures {
    fn see(&mut self, answer: &Outcome<Answer>) {
        match answer {
            Err(failure) if failure.kind == Kind::Internal => {
                self.reason = Some(failure.message.clone());
            }
            // A bad request says nothing about the network.
            _ => self.well = true,
        }
    }

    fn all(self) -> Option<String> {
        self.reason.filter(|_| !self.well)
    }
}
