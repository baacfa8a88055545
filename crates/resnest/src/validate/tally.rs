//! Outcomes counted as they come: what a validation keeps of them does not grow with their number.

use std::collections::BTreeMap;

use super::calibration::Calibration;
use super::outcome::{Answer, Outcome, Scored, TOP};
use super::{Error, RealLabels};

/// Running totals of a validation.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// Outcomes so far, failures included.
    pub(super) seen: usize,
    pub(super) totals: Counts,
    /// By ReaL labels, where there are some.
    pub(super) real: Option<Counts>,
    pub(super) loss: f64,
    pub(super) classes: Vec<ClassCounts>,
    /// (target, predicted) of every answer, right ones included.
    pub(super) confusion: BTreeMap<(usize, usize), u64>,
    pub(super) calibration: Calibration,
    /// The most confident mistakes, worst first.
    pub(super) mistakes: Vec<(usize, String, Scored)>,
    pub(super) failures: Vec<(String, String)>,
    most_mistakes: usize,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) images: u64,
    pub(super) top1: u64,
    pub(super) top5: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClassCounts {
    pub(super) counts: Counts,
    pub(super) predicted: u64,
}

impl Counts {
    fn add(&mut self, scored: &Scored, right: &[usize]) -> bool {
        let first = scored.within(1, right);
        self.images += 1;
        self.top1 += u64::from(first);
        self.top5 += u64::from(scored.within(TOP, right));
        first
    }
}

impl Tally {
    pub(super) fn new(classes: usize, real: bool, most_mistakes: usize) -> Self {
        Self {
            seen: 0,
            totals: Counts::default(),
            real: real.then(Counts::default),
            loss: 0.0,
            classes: vec![ClassCounts::default(); classes],
            confusion: BTreeMap::new(),
            calibration: Calibration::default(),
            mistakes: Vec::new(),
            failures: Vec::new(),
            most_mistakes,
        }
    }

    /// Counts the outcome of the data set's next image.
    pub(super) fn add(
        &mut self,
        outcome: &Outcome,
        real: Option<&RealLabels>,
    ) -> Result<(), Error> {
        match &outcome.answer {
            Answer::Failed { error } => {
                self.failures.push((outcome.file.clone(), error.clone()));
            }
            Answer::Scored(scored) => self.score(&outcome.file, scored, real)?,
        }
        self.seen += 1;
        Ok(())
    }

    fn score(
        &mut self,
        file: &str,
        scored: &Scored,
        real: Option<&RealLabels>,
    ) -> Result<(), Error> {
        let Some((best, confidence)) = scored.best() else {
            return Ok(());
        };
        let mut right = self.totals.add(scored, &[scored.target]);
        self.loss += f64::from(scored.loss);
        self.calibration.add(confidence, right);
        *self.confusion.entry((scored.target, best)).or_default() += 1;
        if let Some(class) = self.classes.get_mut(scored.target) {
            class.counts.add(scored, &[scored.target]);
        }
        if let Some(class) = self.classes.get_mut(best) {
            class.predicted += 1;
        }
        if let (Some(counts), Some(real)) = (&mut self.real, real) {
            let labels = real.of(file)?;
            // timm: an image in which the annotators saw none of the classes does not count.
            right = labels.is_empty() || counts.add(scored, labels);
        }
        if !right {
            self.keep(file, scored, confidence);
        }
        Ok(())
    }

    /// Keeps a mistake if it is among the most confident ones.
    fn keep(&mut self, file: &str, scored: &Scored, confidence: f32) {
        let surer = |other: &Scored| other.best().is_some_and(|(_, p)| p >= confidence);
        let at = self.mistakes.partition_point(|(_, _, other)| surer(other));
        if at < self.most_mistakes {
            let mistake = (self.seen, file.to_owned(), scored.clone());
            self.mistakes.insert(at, mistake);
            self.mistakes.truncate(self.most_mistakes);
        }
    }
}
