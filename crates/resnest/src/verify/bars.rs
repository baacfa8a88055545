//! How far from the reference a stage may be.

use std::fmt;

use serde::Serialize;

use crate::Precision;

/// What a stage must keep to pass.
///
/// A wrong weight shows in many values at once, by little in each: the error of the whole stage sees it, long before the
/// largest difference does. A wrong border shows in few values, by much: there the largest difference sees it. A weight
/// that meets nothing but zeros in these images is seen by neither: take several.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bars {
    /// The largest difference from the reference's f32, as a share of the stage's largest value.
    pub max_diff_of_largest: f64,
    /// How many times the reference's own f32 error against f64 ours may be, both relative (norm to norm).
    pub times_reference_error: f64,
    /// The relative error against f64 that is never too much, for stages where the reference has almost none.
    pub error_floor: f64,
}

impl Bars {
    /// For networks with Winograd's algorithms ([`Precision::Fast`]); they were seen at 3 times PyTorch's error.
    pub const FAST: Self = Self {
        max_diff_of_largest: 1e-4,
        times_reference_error: 10.0,
        error_floor: 5e-6,
    };

    /// For convolutions by their definition; they were seen at 1.3 times PyTorch's error.
    pub const EXACT: Self = Self {
        max_diff_of_largest: 1e-4,
        times_reference_error: 2.0,
        error_floor: 1e-6,
    };

    /// For weights and products in bf16, of 8 significant bits; 1.5e-2 were seen, and 1.8e-2 of the largest value.
    pub const BF16: Self = Self {
        max_diff_of_largest: 5e-2,
        times_reference_error: 1e5,
        error_floor: 3e-2,
    };

    /// For 8-bit integers, beside the same rounded weights in f32: on photos of another kind than it was calibrated on 7.4e-2
    /// were seen, and 0.18 of the largest value. They find what is broken, not what is a little worse.
    pub const INT8: Self = Self {
        max_diff_of_largest: 3e-1,
        times_reference_error: 1e5,
        error_floor: 1.5e-1,
    };

    /// Those that go with a precision; networks that are not fused keep the exact ones.
    pub fn of(precision: Precision) -> Self {
        match precision {
            Precision::Fast => Self::FAST,
            Precision::Exact => Self::EXACT,
            Precision::Bf16 => Self::BF16,
            Precision::Int8 => Self::INT8,
        }
    }
}

impl fmt::Display for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "every stage max |Δ| ≤ {:.0e} of its largest value, and error to f64 ≤ {} times the reference's own \
             (or {:.0e}); preprocessing equal in every value",
            self.max_diff_of_largest, self.times_reference_error, self.error_floor
        )
    }
}
