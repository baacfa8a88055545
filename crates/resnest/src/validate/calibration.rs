//! Whether a model's probabilities can be believed: the expected calibration error
//! (Guo et al. 2017, <https://arxiv.org/abs/1706.04599>, section 2).

use serde::Serialize;

/// Bins of equal width, as in the paper.
pub const BINS: usize = 15;

/// Answers sorted by their confidence, the probability of the best class.
#[derive(Debug, Clone, Default)]
pub(super) struct Calibration {
    bins: [Bin; BINS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    images: u64,
    right: u64,
    confidence: f64,
}

/// The answers whose confidence is above `from` and at most `to`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// Lower end.
    pub from: f64,
    /// Upper end.
    pub to: f64,
    /// How many answers there are.
    pub images: u64,
    /// Their mean confidence, 0 to 1; none without images.
    pub confidence: Option<f64>,
    /// The share of them that is right, 0 to 1; none without images.
    pub accuracy: Option<f64>,
}

impl Calibration {
    pub(super) fn add(&mut self, confidence: f32, right: bool) {
        // A bin is open below and closed above: ((m - 1) / M, m / M].
        let at = (f64::from(confidence) * BINS as f64).ceil() as usize;
        let bin = &mut self.bins[at.clamp(1, BINS) - 1];
        bin.images += 1;
        bin.right += u64::from(right);
        bin.confidence += f64::from(confidence);
    }

    /// The mean over all answers of the distance between their bin's accuracy and confidence, 0 to 1.
    pub(super) fn error(&self) -> Option<f64> {
        let images: u64 = self.bins.iter().map(|bin| bin.images).sum();
        let distance = |bin: &Bin| (bin.right as f64 - bin.confidence).abs();
        (images > 0).then(|| self.bins.iter().map(distance).sum::<f64>() / images as f64)
    }

    pub(super) fn table(&self) -> Vec<CalibrationBin> {
        let width = 1.0 / BINS as f64;
        let mean = |sum: f64, images: u64| (images > 0).then(|| sum / images as f64);
        let row = |(at, bin): (usize, &Bin)| CalibrationBin {
            from: at as f64 * width,
            to: (at + 1) as f64 * width,
            images: bin.images,
            confidence: mean(bin.confidence, bin.images),
            accuracy: mean(bin.right as f64, bin.images),
        };
        self.bins.iter().enumerate().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_closed_above_and_the_error_is_the_papers_sum() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.error(), None);
        for (confidence, right) in [(1.0, true), (0.95, false), (0.3, true), (1e-9, false)] {
            calibration.add(confidence, right);
        }
        let table = calibration.table();
        assert_eq!(
            (table[14].images, table[4].images, table[0].images),
            (2, 1, 1)
        );
        // Bins: |1 - 1.95| + |1 - 0.3| + |0 - 0| over 4 answers.
        assert!((calibration.error().unwrap() - (0.95 + 0.7) / 4.0).abs() < 1e-7);
        assert_eq!(table[1].accuracy, None);
        assert_eq!(table[14].accuracy, Some(0.5));
    }
}
