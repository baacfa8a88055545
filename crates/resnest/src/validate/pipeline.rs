//! Decoding beside the network: images come out in the data set's order, and never more than a window of them is in
//! memory.
//!
//! A ticket for each image goes into a queue of bounded length, the image's number to the workers. A worker reads,
//! decodes, resizes, and answers on the ticket. Whoever takes tickets sees the images in order; while nobody takes any,
//! the queue is full and the workers sleep. So one huge image holds up at most a window, and what is slower, decoding or
//! the network, is never kept waiting by the other.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use crate::dataset::{Dataset, Sample};
use crate::error::contained;
use crate::{Classifier, Error, Image, Pixels};

/// An image ready for the network, or why it is not; and what that took.
pub(super) struct Prepared {
    pub(super) pixels: Result<Pixels, Failed>,
    /// Reading and decoding.
    pub(super) decode: Duration,
    /// Resizing, cropping, normalising.
    pub(super) resize: Duration,
}

/// Why an image is not ready.
pub(super) enum Failed {
    /// Its file could not be read, or it has no label.
    Said(String),
    /// It could not be decoded, prepared or computed.
    Of(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Of(error)
    }
}

type Ticket = Receiver<Prepared>;
type Job = (usize, Sender<Prepared>);

/// Prepared images, in order.
pub(super) struct Images(Receiver<Ticket>);

impl Images {
    /// The next image; `None` after the last.
    pub(super) fn next(&self) -> Option<Prepared> {
        let ticket = self.0.recv().ok()?;
        Some(ticket.recv().unwrap_or_else(|_| Prepared {
            pixels: Err(Failed::Said("its worker ended without an answer".into())),
            decode: Duration::ZERO,
            resize: Duration::ZERO,
        }))
    }
}

/// Prepares the data set's images from the `first` on with so many workers, at most `window` ahead of `consume`, which
/// may stop before the last.
///
/// # Errors
/// [`Error::Threads`] if not all of them can be started.
pub(super) fn run<T>(
    classifier: &Classifier,
    dataset: &Dataset,
    first: usize,
    (workers, window): (usize, usize),
    consume: impl FnOnce(Images) -> T,
) -> Result<T, Error> {
    let (tickets, images) = sync_channel(window);
    let (jobs, todo) = channel();
    let todo = &Mutex::new(todo);
    std::thread::scope(|scope| {
        // Where one cannot be started, the queues are dropped with this closure, and the others end.
        let samples = first..dataset.samples().len();
        start(scope, workers, move || deal(samples, &tickets, &jobs))?;
        for _ in 0..workers.max(1) {
            start(scope, workers, || work(classifier, dataset, todo))?;
        }
        Ok(consume(Images(images)))
    })
}

fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    threads: usize,
    work: impl FnOnce() + Send + 'scope,
) -> Result<(), Error> {
    let started = Builder::new().spawn_scoped(scope, work);
    let reason = started.map(|_| ()).map_err(|e| e.to_string());
    reason.map_err(|reason| Error::Threads { threads, reason })
}

/// Hands out tickets and jobs until nobody takes them.
fn deal(samples: std::ops::Range<usize>, tickets: &SyncSender<Ticket>, jobs: &Sender<Job>) {
    for sample in samples {
        let (answer, ticket) = channel();
        if tickets.send(ticket).is_err() || jobs.send((sample, answer)).is_err() {
            return;
        }
    }
}

fn work(classifier: &Classifier, dataset: &Dataset, todo: &Mutex<Receiver<Job>>) {
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((sample, answer)) = job else {
            return;
        };
        // Nobody waits for it where the consumer has stopped.
        let _ = answer.send(prepare(classifier, dataset, sample));
    }
}

/// The halves of [`Classifier::preprocess`], each with its time.
fn prepare(classifier: &Classifier, dataset: &Dataset, sample: usize) -> Prepared {
    let start = Instant::now();
    let photo = contained(|| Ok(photo(classifier, dataset, &dataset.samples()[sample])));
    let decode = start.elapsed();
    let photo = photo.unwrap_or_else(|error| Err(error.into()));
    let pixels = photo.and_then(|photo| Ok(classifier.preprocess_rgb(&photo)?));
    Prepared {
        pixels,
        decode,
        resize: start.elapsed() - decode,
    }
}

fn photo(classifier: &Classifier, dataset: &Dataset, sample: &Sample) -> Result<Image, Failed> {
    let bytes = dataset.read(sample, classifier.limits().max_bytes);
    let bytes = bytes.map_err(|e| Failed::Said(e.to_string()))?;
    Ok(classifier.decode(&bytes)?)
}
