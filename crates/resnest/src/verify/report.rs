//! What a comparison found.

use serde::Serialize;

use super::Bars;

/// One network held against one reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The network that ran here.
    pub model: String,
    /// What it was held against: the reference's model and the versions that computed it.
    pub against: String,
    /// Images in the batch.
    pub images: usize,
    /// What a stage had to keep.
    pub bars: Bars,
    /// Every stage, in the order they run.
    pub stages: Vec<StageReport>,
    /// Differences in configuration that may explain others.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether every stage kept the bars.
    pub fn passed(&self) -> bool {
        self.first_departure().is_none()
    }

    /// The first stage that did not. What lies behind it got a wrong input; the stages before it are right.
    pub fn first_departure(&self) -> Option<&StageReport> {
        self.stages.iter().find(|stage| !stage.passed)
    }
}

/// One stage's comparison. Figures that are not finite (JSON: `null`) come of values that are not, and never pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageReport {
    /// `preprocessing`, or timm's name of the stage.
    pub stage: String,
    /// The whole output's shape.
    pub shape: Vec<usize>,
    /// How many of its values the reference holds.
    pub values: usize,
    /// The largest magnitude in the reference.
    pub largest: f64,
    /// The largest difference from the reference's f32.
    pub max_diff: f64,
    /// ‖Δ‖ / ‖reference‖.
    pub relative_error: f64,
    /// The cosine between the two.
    pub cosine: f64,
    /// ‖ours − f64‖ / ‖f64‖.
    pub error_to_f64: Option<f64>,
    /// The same of the reference's f32.
    pub reference_error_to_f64: Option<f64>,
    /// How many times the reference's error ours is; 1 where both are none.
    pub ratio: Option<f64>,
    /// Whether it kept the bars.
    pub passed: bool,
    /// What it did not keep.
    pub reason: Option<String>,
}

impl StageReport {
    /// A stage of which there is nothing to compare.
    pub(crate) fn failed(stage: &str, reason: String) -> Self {
        Self {
            stage: stage.to_owned(),
            shape: Vec::new(),
            values: 0,
            largest: f64::NAN,
            max_diff: f64::NAN,
            relative_error: f64::NAN,
            cosine: f64::NAN,
            error_to_f64: None,
            reference_error_to_f64: None,
            ratio: None,
            passed: false,
            reason: Some(reason),
        }
    }
}
