//! Decoding beside the network: images come out in the data set's order, and never more than a window of them is in
//! memory.
//!
//! A ticket for each image goes into a queue of bounded length, the image's number to the workers. A worker reads,
//! decodes, resizes, and answers on the ticket. Whoever takes tickets sees the images in order; while nobody takes any,
//! the queue is full and the workers sleep. So one huge image holds up at most a window, and what is slower, decoding or
//! the network, is never kept waiting by the other.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::dataset::Dataset;
use crate::{Classifier, Pixels};

/// An image ready for the network, or why it is not; and what that took.
pub(super) struct Prepared {
    pub(super) pixels: Result<Pixels, String>,
    /// Reading and decoding.
    pub(super) decode: Duration,
    /// Resizing, cropping, normalising.
    pub(super) resize: Duration,
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
            pixels: Err(
                "its decoder failed in a way it should not: please report this image".into(),
            ),
            decode: Duration::ZERO,
            resize: Duration::ZERO,
        }))
    }
}

/// Prepares the data set's images from the `first` on with so many workers, at most `window` ahead of `consume`, which
/// may stop before the last.
pub(super) fn run<T>(
    classifier: &Classifier,
    dataset: &Dataset,
    first: usize,
    (workers, window): (usize, usize),
    consume: impl FnOnce(Images) -> T,
) -> T {
    let (tickets, images) = sync_channel(window);
    let (jobs, todo) = channel();
    let todo = Mutex::new(todo);
    std::thread::scope(|scope| {
        scope.spawn(move || deal(first..dataset.samples().len(), &tickets, &jobs));
        let helpers: Vec<_> = (0..workers.max(1))
            .map(|_| scope.spawn(|| work(classifier, dataset, &todo)))
            .collect();
        let result = consume(Images(images));
        for helper in helpers {
            // A worker that panicked has left its image without an answer, which `Images` reports.
            let _ = helper.join();
        }
        result
    })
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

fn prepare(classifier: &Classifier, dataset: &Dataset, sample: usize) -> Prepared {
    let start = Instant::now();
    let decoded = decode(classifier, dataset, sample);
    let decode = start.elapsed();
    let pixels =
        decoded.and_then(|image| classifier.preprocess_rgb(&image).map_err(|e| e.to_string()));
    Prepared {
        pixels,
        decode,
        resize: start.elapsed() - decode,
    }
}

fn decode(
    classifier: &Classifier,
    dataset: &Dataset,
    sample: usize,
) -> Result<resnest_image::Image, String> {
    let sample = &dataset.samples()[sample];
    let limits = classifier.limits();
    let bytes = dataset
        .read(sample, limits.max_bytes)
        .map_err(|e| e.to_string())?;
    let mode = classifier.transform().color_mode();
    resnest_image::decode_as(&bytes, mode, limits).map_err(|e| e.to_string())
}
