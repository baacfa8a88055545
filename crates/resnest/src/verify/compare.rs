//! Two lists of values, and by how much they differ.

use std::cmp::Ordering::{Equal, Less};

use candle_core::Tensor;

use super::reference::{Recorded, Reference};
use super::{Activation, Bars, PREPROCESSING, StageReport};
use crate::Error;

/// How two lists of equal length differ; NaN wherever a value is not a number.
struct Difference {
    largest: f64,
    max_diff: f64,
    relative: f64,
    cosine: f64,
}

impl Difference {
    fn new(got: &[f64], expected: &[f64]) -> Self {
        let diff = |(a, b): (&f64, &f64)| a - b;
        let dot: f64 = got.iter().zip(expected).map(|(a, b)| a * b).sum();
        let norms = norm(got.iter().copied()) * norm(expected.iter().copied());
        Self {
            largest: largest(expected.iter().copied()),
            max_diff: largest(got.iter().zip(expected).map(diff)),
            relative: relative(got, expected),
            cosine: if norms == 0.0 && got == expected {
                1.0
            } else {
                dot / norms
            },
        }
    }
}

/// The largest magnitude; NaN if there is one.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values
        .map(f64::abs)
        .fold(0.0, |max, v| if v.is_nan() || v > max { v } else { max })
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// ‖got − expected‖ / ‖expected‖; nothing to nothing is 0.
fn relative(got: &[f64], expected: &[f64]) -> f64 {
    match norm(got.iter().zip(expected).map(|(a, b)| a - b)) {
        0.0 => 0.0,
        diff => diff / norm(expected.iter().copied()),
    }
}

/// A stage here against the recorded one.
pub(super) fn stage(
    got: &Activation,
    recorded: &Recorded,
    bars: &Bars,
    reference: &Reference,
) -> Result<StageReport, Error> {
    if (&got.stage, &got.shape) != (&recorded.stage, &recorded.shape) {
        return Err(reference.error(format!(
            "its stage {} has shape {:?}, here {} has {:?}: it is of another network or input size",
            recorded.stage, recorded.shape, got.stage, got.shape
        )));
    }
    let here = recorded.positions_of(&got.values);
    let difference = Difference::new(&here, &recorded.single);
    let (ours, theirs) = (
        relative(&here, &recorded.double),
        relative(&recorded.single, &recorded.double),
    );
    let reason = departure(&difference, (ours, theirs), bars);
    Ok(StageReport {
        stage: got.stage.clone(),
        shape: got.shape.clone(),
        values: here.len(),
        largest: difference.largest,
        max_diff: difference.max_diff,
        relative_error: difference.relative,
        cosine: difference.cosine,
        error_to_f64: Some(ours),
        reference_error_to_f64: Some(theirs),
        ratio: Some(if ours == theirs { 1.0 } else { ours / theirs }),
        passed: reason.is_none(),
        reason,
    })
}

/// The first bar that is not kept. What is not a number keeps none.
fn departure(difference: &Difference, (ours, theirs): (f64, f64), bars: &Bars) -> Option<String> {
    let most = bars.max_diff_of_largest * difference.largest;
    let bar_to_f64 = (bars.times_reference_error * theirs).max(bars.error_floor);
    let checks = [
        ("max |Δ|", difference.max_diff, most),
        ("error to f64", ours, bar_to_f64),
    ];
    let kept = |got: f64, bar: f64| matches!(got.partial_cmp(&bar), Some(Less | Equal));
    let (what, got, bar) = (checks.into_iter()).find(|&(_, got, bar)| !kept(got, bar))?;
    Some(format!("{what} {got:.2e} is over the bar of {bar:.2e}"))
}

/// The prepared images against the recorded ones: equal, or not.
pub(super) fn preprocessing(here: &Tensor, reference: &Reference) -> Result<StageReport, Error> {
    let recorded = reference.input();
    if here.dims() != recorded.dims() {
        let reason = format!(
            "images become {:?} here, {:?} in the reference",
            here.dims(),
            recorded.dims()
        );
        return Ok(StageReport::failed(PREPROCESSING, reason));
    }
    let shape = here.dims().to_vec();
    let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
    let (here, recorded) = (flat(here)?, flat(recorded)?);
    let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
    let difference = Difference::new(&wide(&here), &wide(&recorded));
    let reason = first_unequal(&here, &recorded, &shape, reference);
    Ok(StageReport {
        stage: PREPROCESSING.to_owned(),
        values: here.len(),
        shape,
        largest: difference.largest,
        max_diff: difference.max_diff,
        relative_error: difference.relative,
        cosine: difference.cosine,
        error_to_f64: None,
        reference_error_to_f64: None,
        ratio: None,
        passed: reason.is_none(),
        reason,
    })
}

/// How many values differ, and where the first is.
fn first_unequal(
    here: &[f32],
    recorded: &[f32],
    shape: &[usize],
    reference: &Reference,
) -> Option<String> {
    let unequal = |(_, (a, b)): &(usize, (&f32, &f32))| a != b;
    let pairs = || here.iter().zip(recorded).enumerate().filter(unequal);
    let (first, (a, b)) = pairs().next()?;
    let &[_, channels, height, width] = shape else {
        return Some("it is no batch of images".to_owned());
    };
    let (row, x) = (first / width, first % width);
    let (plane, y) = (row / height, row % height);
    let (image, channel) = (plane / channels, plane % channels);
    let name = reference.images().get(image).map_or("?", |(name, _)| name);
    Some(format!(
        "{} of {} values differ, first in {name} at channel {channel}, y {y}, x {x}: {a} here, {b} there",
        pairs().count(),
        here.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_a_small_sum() {
        let d = Difference::new(&[3.0, 4.5], &[3.0, 4.0]);
        assert_eq!((d.largest, d.max_diff, d.relative), (4.0, 0.5, 0.1));
        assert!((d.cosine - 27.0 / (29.25f64.sqrt() * 5.0)).abs() < 1e-15);
        let zero = Difference::new(&[0.0], &[0.0]);
        assert_eq!((zero.relative, zero.cosine), (0.0, 1.0));
    }

    #[test]
    fn what_is_not_a_number_never_passes() {
        for (got, expected) in [
            ([f64::NAN, 1.0], [0.0, 1.0]),
            ([0.0, 1.0], [f64::NAN, 1.0]),
            ([f64::NAN, 1.0], [f64::NAN, 1.0]),
            ([f64::INFINITY, 1.0], [f64::INFINITY, 1.0]),
        ] {
            let difference = Difference::new(&got, &expected);
            let errors = (0.0, 0.0);
            assert!(departure(&difference, errors, &Bars::FAST).is_some());
        }
        let good = Difference::new(&[1.0], &[1.0]);
        assert!(departure(&good, (f64::NAN, 0.0), &Bars::EXACT).is_some());
        assert!(departure(&good, (9e-7, 0.0), &Bars::EXACT).is_none());
        assert!(departure(&good, (2.1e-6, 1e-6), &Bars::EXACT).is_some());
    }
}
