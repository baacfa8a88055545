//! Many images through a classifier: bytes in, answers out, in order, in bounded memory, a broken image in its own place.
//!
//! ```
//! use std::ops::ControlFlow;
//! use resnest::{Classifier, Error, TopK};
//!
//! # let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/resnest/demo/photos");
//! let classifier = Classifier::builder("demo").load()?;
//! let files = [format!("{photos}/chelsea.png"), "no such file".into(), format!("{photos}/horse.png")];
//! let read = |file: &String| -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
//!     Ok(std::fs::read(file)?)
//! };
//! let mut lines = Vec::new();
//! classifier.pipeline().run(files, read, &TopK(1), |batch| {
//!     for image in batch {
//!         lines.push(match image.answer {
//!             Ok(best) => best[0].label.clone(),
//!             Err(reason) => reason.to_string(),
//!         });
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!((lines[0].as_str(), lines[2].as_str()), ("cat", "horse"));
//! assert!(lines[1].contains("No such file"));
//! # Ok::<(), Error>(())
//! ```
//!
//! `workers.rs` prepares images beside the network, `answers.rs` computes prepared ones, `task.rs` says what is computed.

mod answers;
mod outputs;
mod task;
mod workers;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

pub use outputs::{Output, Outputs};
pub use task::{Logits, Task, TopK};

use candle_core::Tensor;

use crate::error::contained;
use crate::{Classifier, Error, Image, Pixels};

/// Images computed at once unless more are asked for ([`crate::ModelOptions::batch_hint`]).
///
/// 256 images of 192 pixels took the demo model 2.2 s of CPU time one by one and 1.9 s in parts of 2, 8, 32 or 256; the
/// peak of memory went from 34 MB over 45, 96 and 175 to 553.
pub(crate) const BATCH: usize = 8;

/// Images that may be ahead of the network whatever the size of a batch.
const MOST_AHEAD: usize = 1 << 16;

/// The way of many images through one classifier, which the command, the server and the Python package share.
///
/// [`run`](Self::run) takes images as they come; [`answer`](Self::answer) those that somebody else has prepared.
#[derive(Debug, Clone)]
pub struct Pipeline<'a> {
    classifier: &'a Classifier,
    batch_size: usize,
    workers: usize,
    keep_photos: bool,
}

/// What became of one image.
#[derive(Debug)]
pub struct Answered<I, T, E> {
    /// What it was read from.
    pub input: I,
    /// What was asked of it, or why it has no answer.
    pub answer: Result<T, E>,
    /// The decoded image, if it is there and [`Pipeline::keep_photos`] was asked for.
    pub photo: Option<Image>,
}

/// What a run took. Times of workers are sums over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Ran {
    /// Whether it was stopped before the last image.
    pub stopped: bool,
    /// Threads that read and prepared images.
    pub workers: usize,
    /// Reading and decoding.
    pub decode: Duration,
    /// Resizing, cropping, normalising.
    pub resize: Duration,
    /// The network.
    pub network: Duration,
    /// The network's time without an image to compute.
    pub waiting: Duration,
}

/// An image on its way from a worker to the network.
struct Prepared<I, E> {
    input: I,
    pixels: Result<Pixels, E>,
    photo: Option<Image>,
    decode: Duration,
    resize: Duration,
}

impl Classifier {
    /// The way of many images through this classifier.
    pub fn pipeline(&self) -> Pipeline<'_> {
        Pipeline {
            classifier: self,
            batch_size: self.batch_size(),
            workers: 0,
            keep_photos: false,
        }
    }
}

impl Pipeline<'_> {
    /// Images computed at once, at least one; by default what the classifier was loaded for, or 8.
    #[must_use]
    pub fn batch_size(mut self, images: usize) -> Self {
        self.batch_size = images.max(1);
        self
    }

    /// Threads that read and prepare images in [`run`](Self::run); 0, the default, for as many as the classifier's.
    #[must_use]
    pub fn workers(mut self, threads: usize) -> Self {
        self.workers = threads;
        self
    }

    /// Whether decoded images come with the answers; by default they do not.
    #[must_use]
    pub fn keep_photos(mut self, keep: bool) -> Self {
        self.keep_photos = keep;
        self
    }

    /// Reads, prepares and computes every input; `each` sees batch after batch, in the order of the inputs, and may stop.
    ///
    /// Images are read and prepared on workers while the network computes others, at most two batches and one image a
    /// worker ahead of it. Every batch but the last has [`batch_size`](Self::batch_size) inputs, so that an image stands
    /// beside the same others whatever the timing. An input that cannot be read, a broken image and a panic in `read` are
    /// errors in their place.
    ///
    /// # Errors
    /// What keeps every image from an answer ([`Task::check`]); [`Error::Threads`] if no worker can be started.
    pub fn run<I, B, E, T>(
        &self,
        inputs: impl IntoIterator<Item = I, IntoIter: Send>,
        read: impl Fn(&I) -> Result<B, E> + Sync,
        task: &T,
        each: impl FnMut(Vec<Answered<I, T::Answer, E>>) -> ControlFlow<()>,
    ) -> Result<Ran, Error>
    where
        I: Send,
        B: AsRef<[u8]>,
        E: From<Error> + Send,
        T: Task + ?Sized,
    {
        self.drive(inputs, |input| self.prepare(input, &read), task, each)
    }

    /// The same for images that come in any form, a decoded picture say: `prepare` makes an input's pixels, by
    /// [`Classifier::preprocess`], [`Classifier::preprocess_image`] or [`Classifier::prepared`].
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_prepared<I, E, T>(
        &self,
        inputs: impl IntoIterator<Item = I, IntoIter: Send>,
        prepare: impl Fn(&I) -> Result<Pixels, E> + Sync,
        task: &T,
        each: impl FnMut(Vec<Answered<I, T::Answer, E>>) -> ControlFlow<()>,
    ) -> Result<Ran, Error>
    where
        I: Send,
        E: From<Error> + Send,
        T: Task + ?Sized,
    {
        let prepare = |input: I| {
            let start = Instant::now();
            let pixels = contained(|| Ok(prepare(&input)));
            Prepared {
                input,
                pixels: pixels.unwrap_or_else(|error| Err(error.into())),
                photo: None,
                decode: start.elapsed(),
                resize: Duration::ZERO,
            }
        };
        self.drive(inputs, prepare, task, each)
    }

    fn drive<I, E, T>(
        &self,
        inputs: impl IntoIterator<Item = I, IntoIter: Send>,
        prepare: impl Fn(I) -> Prepared<I, E> + Sync,
        task: &T,
        mut each: impl FnMut(Vec<Answered<I, T::Answer, E>>) -> ControlFlow<()>,
    ) -> Result<Ran, Error>
    where
        I: Send,
        E: From<Error> + Send,
        T: Task + ?Sized,
    {
        task.check(self.classifier)?;
        let inputs = inputs.into_iter();
        let most = inputs.size_hint().1.unwrap_or(usize::MAX).max(1);
        let workers = self.worker_count().min(most);
        // Room for so many is made at once.
        let window = self.batch_size.saturating_mul(2).saturating_add(workers);
        let window = window.min(most).min(MOST_AHEAD);
        workers::run(inputs, prepare, (workers, window), |images| {
            let mut ran = Ran {
                workers,
                ..Ran::default()
            };
            loop {
                let batch = self.collect(images, &mut ran)?;
                if batch.is_empty() {
                    return Ok(ran);
                }
                let start = Instant::now();
                let answered = self.answered(batch, task);
                ran.network += start.elapsed();
                if each(answered).is_break() {
                    ran.stopped = true;
                    return Ok(ran);
                }
            }
        })?
    }

    /// What `task` makes of prepared images, some at a time: one answer per image, in order. An image whose preparation
    /// failed keeps its error; where [`Task::check`] says why there can be none, nothing is computed.
    pub fn answer<T: Task + ?Sized, E: From<Error>>(
        &self,
        prepared: Vec<Result<Pixels, E>>,
        task: &T,
    ) -> Vec<Result<T::Answer, E>> {
        answers::answer(self.classifier, self.batch_size, prepared, task)
    }

    /// Encoded images that are all there, prepared on the classifier's threads, some at a time: one answer per image, in
    /// order.
    pub(crate) fn answer_all<I: Sync, T: Task + ?Sized>(
        &self,
        images: &[I],
        prepare: impl Fn(&I) -> Result<Pixels, Error> + Sync,
        task: &T,
    ) -> Vec<Result<T::Answer, Error>> {
        // Enough to be computed at once, and for every thread to have one to prepare.
        let part = self.batch_size.max(self.classifier.threads());
        let parts = images.chunks(part);
        let answer = |part: &[I]| self.answer(self.map(part, &prepare), task);
        parts.flat_map(answer).collect()
    }

    /// Runs `work` on each input, on the classifier's threads; results in order.
    ///
    /// A panic in `work` is raised here: [`Classifier::preprocess`] has none.
    pub fn map<I: Sync, T: Send>(&self, inputs: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
        answers::map(self.classifier, inputs, work)
    }

    /// Prepared images as one batch, f32 (N, C, H, W) on the CPU: what [`Classifier::logits`] and a [`Task`] take.
    ///
    /// # Errors
    /// [`Error::Compute`] if they are not all of this classifier's own preparation.
    pub fn tensor(&self, images: &[&Pixels]) -> Result<Tensor, Error> {
        self.classifier.to_tensor(images)
    }

    fn worker_count(&self) -> usize {
        match self.workers {
            0 => self.classifier.threads(),
            workers => workers,
        }
    }

    /// The halves of [`Classifier::preprocess`], each with its time.
    fn prepare<I, B: AsRef<[u8]>, E: From<Error>>(
        &self,
        input: I,
        read: &impl Fn(&I) -> Result<B, E>,
    ) -> Prepared<I, E> {
        let start = Instant::now();
        let photo = contained(|| Ok(read(&input)))
            .unwrap_or_else(|error| Err(error.into()))
            .and_then(|bytes| Ok(self.classifier.decode(bytes.as_ref())?));
        let decode = start.elapsed();
        let (pixels, photo) = match photo {
            Ok(photo) => {
                let pixels = self.classifier.preprocess_image(&photo);
                (pixels.map_err(E::from), self.keep_photos.then_some(photo))
            }
            Err(error) => (Err(error), None),
        };
        let resize = start.elapsed() - decode;
        Prepared {
            input,
            pixels,
            photo,
            decode,
            resize,
        }
    }

    /// The next batch; empty after the last.
    fn collect<I, E>(
        &self,
        images: &workers::Images<Prepared<I, E>>,
        ran: &mut Ran,
    ) -> Result<Vec<Prepared<I, E>>, Error> {
        let start = Instant::now();
        let mut batch = Vec::new();
        while batch.len() < self.batch_size
            && let Some(prepared) = images.next()?
        {
            ran.decode += prepared.decode;
            ran.resize += prepared.resize;
            batch.push(prepared);
        }
        ran.waiting += start.elapsed();
        Ok(batch)
    }

    fn answered<I, E: From<Error>, T: Task + ?Sized>(
        &self,
        batch: Vec<Prepared<I, E>>,
        task: &T,
    ) -> Vec<Answered<I, T::Answer, E>> {
        let split = batch.into_iter().map(|p| ((p.input, p.photo), p.pixels));
        let (about, pixels): (Vec<_>, Vec<_>) = split.unzip();
        let answers = self.answer(pixels, task);
        let answered = |((input, photo), answer)| Answered {
            input,
            answer,
            photo,
        };
        about.into_iter().zip(answers).map(answered).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::demo;

    /// Of a failed read, and of the library's errors.
    #[derive(Debug)]
    enum Failure {
        Unread(usize),
        Of(Error),
    }

    impl From<Error> for Failure {
        fn from(error: Error) -> Self {
            Self::Of(error)
        }
    }

    fn classifier() -> Classifier {
        Classifier::builder("demo").threads(2).load().unwrap()
    }

    /// Of every five inputs one cannot be read, one is no image, one panics.
    fn read(at: &usize) -> Result<&'static [u8], Failure> {
        match at % 5 {
            1 => Err(Failure::Unread(*at)),
            2 => Ok(b"no image"),
            3 => panic!("the reader's mistake"),
            _ => Ok(demo::PHOTOS[at % 2].1),
        }
    }

    #[test]
    fn every_input_has_its_answer_in_its_place() {
        let classifier = classifier();
        let expected = demo::PHOTOS.map(|(_, bytes)| classifier.classify(bytes, 1).unwrap());
        for (batch_size, workers) in [(1, 1), (4, 0), (7, 3), (100, 2)] {
            let pipeline = classifier
                .pipeline()
                .batch_size(batch_size)
                .workers(workers);
            let mut seen = Vec::new();
            let ran = pipeline.run(0..23, read, &TopK(1), |batch| {
                let full = batch.len() == batch_size;
                assert!(full || seen.len() + batch.len() == 23, "{}", batch.len());
                for image in batch {
                    let at = image.input;
                    match (at % 5, image.answer) {
                        (1, Err(Failure::Unread(unread))) => assert_eq!(unread, at),
                        (2, Err(Failure::Of(error))) => assert!(error.is_bad_image(), "{error}"),
                        (3, Err(Failure::Of(Error::Panicked { detail }))) => {
                            assert!(detail.contains("the reader's mistake"), "{detail}");
                        }
                        (0 | 4, Ok(best)) => assert_eq!(best[0].index, expected[at % 2][0].index),
                        (_, answer) => panic!("{at}: {answer:?}"),
                    }
                    assert!(image.photo.is_none());
                    seen.push(at);
                }
                ControlFlow::Continue(())
            });
            assert!(!ran.unwrap().stopped);
            assert_eq!(seen, Vec::from_iter(0..23), "{batch_size}, {workers}");
        }
    }

    #[test]
    fn reading_is_never_far_ahead_and_ends_where_it_is_stopped() {
        let classifier = classifier();
        let pipeline = classifier.pipeline().batch_size(2).workers(2);
        let (started, mut answered) = (AtomicUsize::new(0), 0);
        let read = |at: &usize| {
            started.fetch_add(1, Ordering::SeqCst);
            read(&(5 * at))
        };
        // Without an end: only what is asked for is read.
        let ran = pipeline.run(0.., read, &Logits, |batch| {
            answered += batch.len();
            assert!(batch.iter().all(|image| image.answer.is_ok()));
            std::thread::sleep(Duration::from_millis(20));
            let ahead = started.load(Ordering::SeqCst) - answered;
            // A queue of two batches and the workers' images, and an image in each worker's hands.
            assert!(ahead <= 2 * 2 + 2 + 2, "{ahead}");
            match answered {
                12.. => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        assert!(ran.unwrap().stopped);
        assert_eq!(answered, 12);
    }

    #[test]
    fn photos_come_with_the_answers_where_they_are_asked_for() {
        let classifier = classifier();
        let pipeline = classifier.pipeline().keep_photos(true);
        let whole = classifier.decode(demo::PHOTOS[0].1).unwrap();
        let inputs = [0, 2];
        let ran = pipeline.run(inputs, read, &Logits, |batch| {
            assert_eq!(batch[0].photo.as_ref(), Some(&whole));
            assert!(batch[1].photo.is_none() && batch[1].answer.is_err());
            ControlFlow::Continue(())
        });
        assert_eq!(ran.unwrap().workers, 2);
    }
}
