//! The result of a validation, as timm names it and beyond.

use serde::Serialize;

use super::calibration::CalibrationBin;
use super::outcome::Scored;
use super::tally::{Counts, Tally};
use super::{Error, Targets};
use crate::dataset::Dataset;
use crate::{Classifier, precision_name};

/// One model's result in the fields of timm's `validate.py`, rounded as there; no percentages where no image counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub model: String,
    /// Percent right.
    pub top1: Option<f64>,
    /// Percent wrong.
    pub top1_err: Option<f64>,
    /// Percent with the right class among the first five.
    pub top5: Option<f64>,
    /// Percent without.
    pub top5_err: Option<f64>,
    /// Millions of parameters.
    pub param_count: f64,
    /// The input's width in pixels.
    pub img_size: u32,
    /// The share of the resized image's edge that was kept.
    pub crop_pct: f64,
    /// The resize filter.
    pub interpolation: String,
}

/// Everything a validation found out.
#[derive(Debug, Clone, Serialize)]
pub struct Validation {
    /// timm's fields.
    #[serde(flatten)]
    pub row: Row,
    /// The data set, as it was named.
    pub data: String,
    /// How the image's shape became the model's.
    pub crop_mode: String,
    /// The input's height and width.
    pub input_size: (u32, u32),
    /// How exact the network was: `fast`, `exact`, `bf16`, `int8`, or `unfused`.
    pub precision: &'static str,
    /// How far its answers are those of another precision, if they were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// Images of the data set.
    pub total: usize,
    /// Images that were computed, and of which percentages are.
    pub images: u64,
    /// Images that could not be read.
    pub failed: usize,
    /// By what `row` counts: `folders` (the data set's own labels), or `real`.
    pub labels: &'static str,
    /// Counted by the data set's own labels, in percent, where `row` counts by ReaL labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_labels: Option<Own>,
    /// Mean cross entropy.
    pub loss: Option<f64>,
    /// Expected calibration error in 15 bins, 0 to 1.
    pub ece: Option<f64>,
    /// The bins.
    pub calibration: Vec<CalibrationBin>,
    /// The classes that take part.
    pub classes: Vec<ClassResult>,
    /// (target, predicted, images) of every pair that occurred, right ones included.
    pub confusion: Vec<(usize, usize, u64)>,
    /// The most confident mistakes, worst first.
    pub mistakes: Vec<Mistake>,
    /// Images that could not be read, and why.
    pub failures: Vec<Failure>,
    /// Where the time went.
    pub timing: Timing,
}

/// How far two precisions of a model agree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The other precision.
    pub with: &'static str,
    /// Images that both have an answer for.
    pub images: usize,
    /// Percent of them of which both name the same class first; none without any.
    pub percent: Option<f64>,
}

/// Percentages by the data set's own labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Own {
    /// Percent right.
    pub top1: Option<f64>,
    /// Percent with the right class among the first five.
    pub top5: Option<f64>,
}

/// One class, by the data set's own labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassResult {
    /// The model's class index.
    pub index: usize,
    /// Its name.
    pub label: String,
    /// In words, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Images of it.
    pub images: u64,
    /// Of those, how many were recognised.
    pub top1: u64,
    /// Of those, for how many it was among the first five.
    pub top5: u64,
    /// Images of any class that were taken for it.
    pub predicted: u64,
    /// `top1` over `images`, 0 to 1 (the recall); none without images.
    pub accuracy: Option<f64>,
    /// `top1` over `predicted`, 0 to 1; none where it was never predicted.
    pub precision: Option<f64>,
}

/// An image taken for something else.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mistake {
    /// The image's place in the data set.
    pub sample: usize,
    /// Its name.
    pub file: String,
    /// Its class and probabilities.
    #[serde(flatten)]
    pub scored: Scored,
}

/// An image that could not be read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// Its name.
    pub file: String,
    /// Why.
    pub error: String,
}

/// Where the time of a run went. Decoding and resizing are summed over the workers, who run beside the network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Timing {
    /// Images of this run; those of an earlier one that was resumed do not count.
    pub images: usize,
    /// From the first image to the last.
    pub seconds: f64,
    /// By that.
    pub images_per_second: f64,
    /// Threads that decoded.
    pub workers: usize,
    /// Threads of the network.
    pub threads: usize,
    /// Reading and decoding.
    pub decode_seconds: f64,
    /// Resizing, cropping, normalising.
    pub resize_seconds: f64,
    /// In the network.
    pub network_seconds: f64,
    /// The network had no images to work on.
    pub waiting_seconds: f64,
}

impl Validation {
    pub(super) fn new(
        classifier: &Classifier,
        dataset: &Dataset,
        targets: &Targets,
        tally: Tally,
        timing: Timing,
        interrupted: bool,
    ) -> Result<Self, Error> {
        let images = tally.totals.images;
        let mean = |sum: f64| (images > 0).then(|| sum / images as f64);
        let (top1, top5) = tally.totals.percent();
        Ok(Self {
            row: row(classifier, tally.real.as_ref().unwrap_or(&tally.totals))?,
            data: dataset.source().to_owned(),
            crop_mode: classifier.transform().crop_mode.to_string(),
            input_size: classifier.transform().size,
            precision: precision_name(classifier.precision()),
            agreement: None,
            interrupted,
            total: dataset.samples().len(),
            images,
            failed: tally.failures.len(),
            labels: if tally.real.is_some() {
                "real"
            } else {
                "folders"
            },
            own_labels: tally.real.map(|_| Own { top1, top5 }),
            loss: mean(tally.loss),
            ece: tally.calibration.error(),
            calibration: tally.calibration.table(),
            classes: classes(classifier, targets, &tally),
            confusion: tally
                .confusion
                .iter()
                .map(|(&(t, p), &n)| (t, p, n))
                .collect(),
            mistakes: tally
                .mistakes
                .into_iter()
                .map(|(sample, file, scored)| Mistake {
                    sample,
                    file,
                    scored,
                })
                .collect(),
            failures: tally
                .failures
                .into_iter()
                .map(|(file, error)| Failure { file, error })
                .collect(),
            timing,
        })
    }

    /// Whether any image counted, and so `row` has percentages.
    pub fn counted(&self) -> bool {
        self.row.top1.is_some()
    }

    /// The pairs most often confused: (target, predicted, images), most first; equal ones in the order of the classes.
    pub fn confused(&self, most: usize) -> Vec<(usize, usize, u64)> {
        let mut pairs: Vec<_> = self
            .confusion
            .iter()
            .copied()
            .filter(|(t, p, _)| t != p)
            .collect();
        pairs.sort_by_key(|&(t, p, n)| (std::cmp::Reverse(n), t, p));
        pairs.truncate(most);
        pairs
    }

    /// What a class is called, shortly: the first words of its description, else its name.
    pub fn called(&self, class: usize) -> String {
        let Some(found) = self.classes.iter().find(|c| c.index == class) else {
            return class.to_string();
        };
        let words = found.description.as_deref().unwrap_or(&found.label);
        words.split(',').next().unwrap_or(words).to_owned()
    }
}

impl Counts {
    /// Top-1 and top-5 in percent to four places, as timm rounds them; none without images.
    fn percent(&self) -> (Option<f64>, Option<f64>) {
        let percent = |right: u64| match self.images {
            0 => None,
            images => Some(rounded(100.0 * right as f64 / images as f64, 4)),
        };
        (percent(self.top1), percent(self.top5))
    }
}

fn row(classifier: &Classifier, counts: &Counts) -> Result<Row, Error> {
    let (top1, top5) = counts.percent();
    let transform = classifier.transform();
    let config = classifier.model().config();
    let parameters = crate::model::parameter_count(config).map_err(crate::Error::from)?;
    Ok(Row {
        model: classifier.name().to_owned(),
        top1,
        top1_err: top1.map(|right| rounded(100.0 - right, 4)),
        top5,
        top5_err: top5.map(|right| rounded(100.0 - right, 4)),
        param_count: rounded(parameters as f64 / 1e6, 2),
        img_size: transform.size.1,
        crop_pct: transform.crop_pct,
        interpolation: transform.interpolation.to_string(),
    })
}

fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round_ties_even() / scale
}

fn classes(classifier: &Classifier, targets: &Targets, tally: &Tally) -> Vec<ClassResult> {
    let all: Vec<usize> = (0..tally.classes.len()).collect();
    let taking_part = targets.valid().unwrap_or(&all);
    let share = |right: u64, of: u64| (of > 0).then(|| right as f64 / of as f64);
    let labels = classifier.labels();
    let class = |&index: &usize| {
        let found = tally.classes.get(index)?;
        Some(ClassResult {
            index,
            label: labels.name(index),
            description: labels.description(index).map(str::to_owned),
            images: found.counts.images,
            top1: found.counts.top1,
            top5: found.counts.top5,
            predicted: found.predicted,
            accuracy: share(found.counts.top1, found.counts.images),
            precision: share(found.counts.top1, found.predicted),
        })
    };
    taking_part.iter().filter_map(class).collect()
}
