//! The run itself: batches through the network, outcomes counted in order.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::outcome::{Answer, Outcome, Scored};
use super::tally::Tally;
use super::validation::{Timing, Validation};
use super::{Error, RealLabels, Targets};
use crate::Classifier;
use crate::dataset::Dataset;
use crate::pipeline::{Answered, Logits, Ran};

/// How a validation runs: start from the default and set what differs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Images computed at once.
    pub batch_size: usize,
    /// Threads that read, decode and resize; 0 for as many as the network's.
    pub workers: usize,
    /// Stop at the first image that cannot be read.
    pub strict: bool,
    /// How many of the most confident mistakes are kept.
    pub mistakes: usize,
    /// ImageNet's reassessed labels, by which top-1 and top-5 are then counted.
    pub real_labels: Option<RealLabels>,
    /// What an outcome says of an image that could not be prepared or computed: the command speaks of its options, where
    /// errors speak of fields.
    pub message: fn(&crate::Error) -> String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_size: 8,
            workers: 0,
            strict: false,
            mistakes: 24,
            real_labels: None,
            message: crate::Error::with_causes,
        }
    }
}

/// A model on a data set: made, perhaps given earlier outcomes, and run.
#[derive(Debug)]
pub struct Evaluation<'a> {
    classifier: &'a Classifier,
    dataset: &'a Dataset,
    targets: Targets,
    options: Options,
    tally: Tally,
}

/// Why an image has no logits.
enum Failed {
    /// Its file could not be read, or it has no label.
    Unread(String),
    /// It could not be decoded, prepared or computed.
    Of(crate::Error),
}

impl From<crate::Error> for Failed {
    fn from(error: crate::Error) -> Self {
        Self::Of(error)
    }
}

impl<'a> Evaluation<'a> {
    /// Nothing is read yet but the ReaL labels' file names.
    ///
    /// # Errors
    /// A network without classes; [`Error::NoRealLabels`] for the first image they know nothing of.
    pub fn new(
        classifier: &'a Classifier,
        dataset: &'a Dataset,
        targets: Targets,
        options: Options,
    ) -> Result<Self, Error> {
        classifier.check_classes()?;
        if let Some(real) = &options.real_labels {
            for sample in dataset.samples() {
                real.of(&sample.name)?;
            }
        }
        let real = options.real_labels.is_some();
        let tally = Tally::new(targets.classes(), real, options.mistakes);
        Ok(Self {
            classifier,
            dataset,
            targets,
            options,
            tally,
        })
    }

    /// Counts an outcome of an earlier run, in the data set's order from its first image on; `run` goes on after the
    /// last.
    ///
    /// # Errors
    /// [`Error::Changed`] if the data set has another image in this place.
    pub fn resume(&mut self, outcome: &Outcome) -> Result<(), Error> {
        let present = self.dataset.samples().get(self.tally.seen);
        let changed = |present: &str| Error::Changed {
            at: self.tally.seen + 1,
            recorded: outcome.file.clone(),
            present: present.to_owned(),
        };
        match present {
            Some(sample) if sample.name == outcome.file => self.count(outcome),
            Some(sample) => Err(changed(&sample.name)),
            None => Err(changed("not there")),
        }
    }

    /// How many images have an outcome.
    pub fn done(&self) -> usize {
        self.tally.seen
    }

    /// Goes through the images that have no outcome yet; `each` sees every new outcome, in order, and may stop the run.
    ///
    /// # Errors
    /// Threads that cannot be started; [`Error::Strict`].
    pub fn run(
        mut self,
        mut each: impl FnMut(&Outcome) -> ControlFlow<()>,
    ) -> Result<Validation, Error> {
        let start = Instant::now();
        // Batches begin at multiples of their size in every run: an image's last bits may depend on the others beside it.
        let done = self.tally.seen;
        let batch_size = self.batch_size();
        let first = done - done % batch_size;
        let (classifier, dataset) = (self.classifier, self.dataset);
        let max_bytes = classifier.limits().max_bytes;
        let targets = self.targets.clone();
        let read = |&at: &usize| {
            let sample = &dataset.samples()[at];
            let bytes = dataset.read(sample, max_bytes);
            let bytes = bytes.map_err(|e| Failed::Unread(e.to_string()))?;
            match targets.class(sample.label) {
                Some(_) => Ok(bytes),
                None => Err(Failed::Unread("it has no label".into())),
            }
        };
        let mut trouble = Ok(());
        let pipeline = classifier.pipeline().batch_size(batch_size);
        let pipeline = pipeline.workers(self.options.workers);
        let samples = first..dataset.samples().len();
        let ran = pipeline.run(samples, read, &Logits, |batch| {
            let flow = self.add_batch(batch, done, &mut each);
            flow.unwrap_or_else(|error| {
                trouble = Err(error);
                ControlFlow::Break(())
            })
        })?;
        trouble?;
        let timing = self.timing(&ran, self.tally.seen - done, start.elapsed());
        Validation::new(
            classifier,
            dataset,
            &self.targets,
            self.tally,
            timing,
            ran.stopped,
        )
    }

    /// No more than there are images: room is made for as many.
    fn batch_size(&self) -> usize {
        let images = self.dataset.samples().len();
        self.options.batch_size.clamp(1, images.max(1))
    }

    fn timing(&self, ran: &Ran, images: usize, took: Duration) -> Timing {
        let seconds = took.as_secs_f64();
        Timing {
            images,
            seconds,
            images_per_second: images as f64 / seconds,
            workers: ran.workers,
            threads: self.classifier.threads(),
            decode_seconds: ran.decode.as_secs_f64(),
            resize_seconds: ran.resize.as_secs_f64(),
            network_seconds: ran.network.as_secs_f64(),
            waiting_seconds: ran.waiting.as_secs_f64(),
        }
    }

    /// Counts a batch's outcomes, but for those of images before `done`, which an earlier run has counted.
    fn add_batch(
        &mut self,
        batch: Vec<Answered<usize, Vec<f32>, Failed>>,
        done: usize,
        each: &mut impl FnMut(&Outcome) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        for image in batch.into_iter().filter(|image| image.input >= done) {
            let outcome = self.outcome(image);
            self.add(&outcome)?;
            if each(&outcome).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn outcome(&self, image: Answered<usize, Vec<f32>, Failed>) -> Outcome {
        let sample = &self.dataset.samples()[image.input];
        let target = self.targets.class(sample.label);
        Outcome {
            file: sample.name.clone(),
            answer: match self.scored(target, image.answer) {
                Ok(scored) => Answer::Scored(scored),
                Err(Failed::Unread(error)) => Answer::Failed { error },
                Err(Failed::Of(error)) => Answer::Failed {
                    error: (self.options.message)(&error),
                },
            },
        }
    }

    fn scored(
        &self,
        target: Option<usize>,
        logits: Result<Vec<f32>, Failed>,
    ) -> Result<Scored, Failed> {
        let target = target.unwrap_or(usize::MAX);
        Ok(Scored::new(&logits?, target, self.targets.valid())?)
    }

    fn add(&mut self, outcome: &Outcome) -> Result<(), Error> {
        if let (true, Answer::Failed { error }) = (self.options.strict, &outcome.answer) {
            return Err(Error::Strict {
                file: outcome.file.clone(),
                reason: error.clone(),
                done: self.tally.seen,
            });
        }
        self.count(outcome)
    }

    fn count(&mut self, outcome: &Outcome) -> Result<(), Error> {
        self.tally.add(outcome, self.options.real_labels.as_ref())
    }
}
