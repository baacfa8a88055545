//! The report's charts and tables, one type each.

use serde::Serialize;

use super::Pictures;
use crate::validate::{BINS, CalibrationBin, ClassResult, Timing, Validation};

/// Where the time went, as parts of a bar.
#[derive(Serialize)]
pub struct Time {
    words: String,
    spans: Vec<Span>,
}

#[derive(Serialize)]
struct Span {
    name: &'static str,
    class: &'static str,
    seconds: String,
    percent: String,
}

impl Time {
    pub fn new(t: &Timing) -> Self {
        let rest = (t.seconds - t.network_seconds - t.waiting_seconds).max(0.0);
        let spans = [
            ("network", "", t.network_seconds),
            ("waiting for images", "wrong", t.waiting_seconds),
            ("counting and writing", "rest", rest),
        ];
        let span = |(name, class, seconds): (_, _, f64)| Span {
            name,
            class,
            seconds: format!("{seconds:.1}"),
            percent: percent(seconds / t.seconds.max(1e-9)),
        };
        Self {
            words: format!(
                "{:.1} s for {} images. Threads of the network: {}; beside it workers: {}, which spent {:.1} s on \
                 decoding and {:.1} s on resizing.",
                t.seconds, t.images, t.threads, t.workers, t.decode_seconds, t.resize_seconds
            ),
            spans: spans.map(span).into(),
        }
    }
}

/// A class's bar.
#[derive(Serialize)]
pub struct Class {
    name: String,
    title: String,
    top1: String,
    top1_width: String,
    more_width: String,
}

impl Class {
    /// Of every class with images, worst first.
    pub fn all(v: &Validation) -> Vec<Self> {
        let mut classes: Vec<&ClassResult> = v.classes.iter().filter(|c| c.images > 0).collect();
        let accuracy = |c: &ClassResult| c.accuracy.unwrap_or(1.0);
        classes.sort_by(|a, b| accuracy(a).total_cmp(&accuracy(b)));
        let class = |c: &ClassResult| {
            let five = c.top5 as f64 / c.images as f64;
            Self {
                name: v.called(c.index),
                title: format!(
                    "{}: {} of {} right, {} among the first five",
                    c.description.as_deref().unwrap_or(&c.label),
                    c.top1,
                    c.images,
                    c.top5
                ),
                top1: percent(accuracy(c)),
                top1_width: percent(accuracy(c)),
                more_width: percent(five - accuracy(c)),
            }
        };
        classes.into_iter().map(class).collect()
    }
}

/// Counts by what is shown and what was said.
#[derive(Serialize)]
pub struct Matrix {
    names: Vec<String>,
    rows: Vec<MatrixRow>,
}

#[derive(Serialize)]
struct MatrixRow {
    name: String,
    cells: Vec<Cell>,
}

#[derive(Serialize)]
struct Cell {
    /// Empty for 0.
    images: String,
    alpha: String,
    right: bool,
    title: String,
}

impl Matrix {
    pub fn new(v: &Validation) -> Self {
        let shown: Vec<&ClassResult> = v
            .classes
            .iter()
            .filter(|c| c.images > 0 || c.predicted > 0)
            .collect();
        let count = |target: usize, predicted: usize| {
            let at = v
                .confusion
                .binary_search_by_key(&(target, predicted), |&(t, p, _)| (t, p));
            at.map_or(0, |at| v.confusion[at].2)
        };
        let cell = |target: &ClassResult, predicted: &ClassResult| {
            let images = count(target.index, predicted.index);
            let share = images as f64 / target.images.max(1) as f64;
            Cell {
                images: if images > 0 {
                    images.to_string()
                } else {
                    String::new()
                },
                // The root lifts rare confusions into sight.
                alpha: format!("{:.2}", 0.75 * share.sqrt()),
                right: target.index == predicted.index,
                title: format!(
                    "{} → {}: {images}",
                    v.called(target.index),
                    v.called(predicted.index)
                ),
            }
        };
        let row = |target: &&ClassResult| MatrixRow {
            name: v.called(target.index),
            cells: shown
                .iter()
                .map(|predicted| cell(target, predicted))
                .collect(),
        };
        Self {
            names: shown.iter().map(|c| v.called(c.index)).collect(),
            rows: shown.iter().filter(|c| c.images > 0).map(row).collect(),
        }
    }
}

/// Two classes that were confused.
#[derive(Serialize)]
pub struct Pair {
    target: String,
    predicted: String,
    images: u64,
    share: String,
}

impl Pair {
    pub fn all(v: &Validation, most: usize) -> Vec<Self> {
        let of = |class| {
            v.classes
                .iter()
                .find(|c| c.index == class)
                .map_or(1, |c| c.images.max(1))
        };
        let pair = |(target, predicted, images)| Self {
            target: v.called(target),
            predicted: v.called(predicted),
            images,
            share: percent(images as f64 / of(target) as f64),
        };
        v.confused(most).into_iter().map(pair).collect()
    }
}

/// A bar of the calibration diagram, whose plot is 294 by 200 at (36, 10).
#[derive(Serialize)]
pub struct Bin {
    x: String,
    y: String,
    height: String,
    opacity: String,
    title: String,
}

impl Bin {
    pub fn all(v: &Validation) -> Vec<Self> {
        let most = v
            .calibration
            .iter()
            .map(|bin| bin.images)
            .max()
            .unwrap_or(0)
            .max(1);
        let bin = |(at, bin): (usize, &CalibrationBin)| {
            let (accuracy, confidence) = (bin.accuracy?, bin.confidence?);
            Some(Self {
                x: format!("{:.1}", 37.3 + at as f64 * 294.0 / BINS as f64),
                y: format!("{:.1}", 210.0 - 200.0 * accuracy),
                height: format!("{:.1}", 200.0 * accuracy),
                opacity: format!(
                    "{:.2}",
                    0.25 + 0.75 * (bin.images as f64 / most as f64).sqrt()
                ),
                title: format!(
                    "confidence {}% on average, {}% right, {} images",
                    percent(confidence),
                    percent(accuracy),
                    bin.images
                ),
            })
        };
        v.calibration.iter().enumerate().filter_map(bin).collect()
    }
}

/// A wrong answer with its pictures and probabilities.
#[derive(Serialize)]
pub struct Mistake {
    file: String,
    predicted: String,
    target: String,
    photo: Option<String>,
    map_predicted: Option<String>,
    map_target: Option<String>,
    bars: Vec<Bar>,
}

#[derive(Serialize)]
struct Bar {
    name: String,
    percent: String,
    class: &'static str,
}

impl Mistake {
    pub fn all(v: &Validation, pictures: &[Pictures]) -> Vec<Self> {
        let mistake = |(at, m): (usize, &crate::validate::Mistake)| {
            let scored = &m.scored;
            let Pictures {
                photo,
                predicted,
                target,
            } = pictures.get(at).cloned().unwrap_or_default();
            Some(Self {
                file: m.file.clone(),
                predicted: v.called(scored.best()?.0),
                target: v.called(scored.target),
                photo,
                map_predicted: predicted,
                map_target: target,
                bars: bars(v, scored),
            })
        };
        v.mistakes.iter().enumerate().filter_map(mistake).collect()
    }
}

/// The best classes, and the right one if it is none of them.
fn bars(v: &Validation, scored: &crate::validate::Scored) -> Vec<Bar> {
    let best = scored
        .top
        .iter()
        .copied()
        .zip(scored.probabilities.iter().copied());
    let mut all: Vec<(usize, f32)> = best.take(3).collect();
    if !all.iter().any(|&(class, _)| class == scored.target) {
        all.push((scored.target, scored.target_probability));
    }
    let bar = |(at, (class, p)): (usize, (usize, f32))| Bar {
        name: v.called(class),
        percent: percent(f64::from(p)),
        class: match () {
            () if class == scored.target => "",
            () if at == 0 => "wrong",
            () => "rest",
        },
    };
    all.into_iter().enumerate().map(bar).collect()
}

/// With one place.
fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}
