//! The run itself: batches through the network, outcomes counted in order.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::outcome::{Answer, Outcome, Scored};
use super::pipeline::{self, Failed, Images, Prepared};
use super::tally::Tally;
use super::validation::{Timing, Validation};
use super::{Error, RealLabels, Targets};
use crate::dataset::{Dataset, Label};
use crate::{Classifier, Pixels};

/// How a validation runs.
#[derive(Debug, Clone)]
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
    pub say: fn(&crate::Error) -> String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_size: 8,
            workers: 0,
            strict: false,
            mistakes: 24,
            real_labels: None,
            say: |error| error.to_string(),
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

/// An image of the batch that is being collected.
struct Waiting {
    /// Its place in the data set.
    at: usize,
    /// Its class, if it has one.
    target: Option<usize>,
    pixels: Result<Pixels, Failed>,
}

#[derive(Default)]
struct Clock {
    decode: Duration,
    resize: Duration,
    network: Duration,
    waiting: Duration,
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
        let mut clock = Clock::default();
        let threads = self.classifier.threads();
        let workers = match self.options.workers {
            0 => threads,
            workers => workers,
        };
        let window = 2 * batch_size + workers;
        let (classifier, dataset) = (self.classifier, self.dataset);
        let flow = pipeline::run(classifier, dataset, first, (workers, window), |images| {
            self.consume(&images, first, &mut clock, &mut each)
        })??;
        let seconds = start.elapsed().as_secs_f64();
        let timing = Timing {
            images: self.tally.seen - done,
            seconds,
            images_per_second: (self.tally.seen - done) as f64 / seconds,
            workers,
            threads,
            decode_seconds: clock.decode.as_secs_f64(),
            resize_seconds: clock.resize.as_secs_f64(),
            network_seconds: clock.network.as_secs_f64(),
            waiting_seconds: clock.waiting.as_secs_f64(),
        };
        Validation::new(
            classifier,
            dataset,
            &self.targets,
            self.tally,
            timing,
            flow.is_break(),
        )
    }

    /// No more than there are images: room is made for as many.
    fn batch_size(&self) -> usize {
        let images = self.dataset.samples().len();
        self.options.batch_size.clamp(1, images.max(1))
    }

    fn consume(
        &mut self,
        images: &Images,
        mut next: usize,
        clock: &mut Clock,
        each: &mut impl FnMut(&Outcome) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        loop {
            let mut batch: Vec<Waiting> = Vec::new();
            let start = Instant::now();
            while batch.len() < self.batch_size()
                && let Some(prepared) = images.next()
            {
                clock.decode += prepared.decode;
                clock.resize += prepared.resize;
                batch.push(self.with_target(next, prepared));
                next += 1;
            }
            clock.waiting += start.elapsed();
            if batch.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            let start = Instant::now();
            let known = self.tally.seen.saturating_sub(next - batch.len());
            let outcomes = self.outcomes(batch);
            clock.network += start.elapsed();
            for outcome in outcomes.into_iter().skip(known) {
                self.add(&outcome)?;
                if each(&outcome).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }

    fn with_target(&self, at: usize, prepared: Prepared) -> Waiting {
        let sample = self.dataset.samples().get(at);
        let target = self
            .targets
            .class(sample.map_or(Label::Unknown, |s| s.label));
        let unlabelled = || Failed::Said("it has no label".into());
        Waiting {
            at,
            target,
            pixels: (prepared.pixels)
                .and_then(|pixels| target.map(|_| pixels).ok_or_else(unlabelled)),
        }
    }

    /// The batch through the network.
    fn outcomes(&self, batch: Vec<Waiting>) -> Vec<Outcome> {
        let split = batch.into_iter().map(|w| ((w.at, w.target), w.pixels));
        let (about, pixels): (Vec<_>, Vec<_>) = split.unzip();
        let logits = self.classifier.logits_prepared(pixels);
        let outcome =
            |((at, target), logits): ((usize, Option<usize>), Result<Vec<f32>, Failed>)| Outcome {
                file: self.dataset.samples()[at].name.clone(),
                answer: match self.scored(target, logits) {
                    Ok(scored) => Answer::Scored(scored),
                    Err(Failed::Said(error)) => Answer::Failed { error },
                    Err(Failed::Of(error)) => Answer::Failed {
                        error: (self.options.say)(&error),
                    },
                },
            };
        about.into_iter().zip(logits).map(outcome).collect()
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
