//! How the values of a map are spread, and the range of them that 8 bits should cover.

use resnest_model::InputScale;

/// Bins on each side of zero.
const BINS: usize = 4096;
/// Ends of the range that are tried on each side of zero.
const TRIED: usize = 512;
/// Steps between the 256 values.
const STEPS: f64 = 255.0;

/// How often which values came. The width of a bin grows with the largest value.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    /// Of a bin; 0 until there is a value that is not 0.
    width: f64,
    positive: Vec<u64>,
    negative: Vec<u64>,
    zeros: u64,
    least: f32,
    most: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            width: 0.0,
            positive: vec![0; BINS],
            negative: vec![0; BINS],
            zeros: 0,
            least: 0.0,
            most: 0.0,
        }
    }
}

impl Histogram {
    /// Counts all values; `false`, and nothing is counted, if one is no finite number.
    pub(super) fn add(&mut self, values: &[f32]) -> bool {
        if !values.iter().fold(true, |all, v| all & v.is_finite()) {
            return false;
        }
        let (least, most) = values.iter().fold((0f32, 0f32), |(least, most), &v| {
            (least.min(v), most.max(v))
        });
        self.least = self.least.min(least);
        self.most = self.most.max(most);
        self.widen(f64::from(most.max(-least)));
        for &value in values {
            if value == 0.0 {
                self.zeros += 1;
                continue;
            }
            let side = match value > 0.0 {
                true => &mut self.positive,
                false => &mut self.negative,
            };
            let bin = (f64::from(value.abs()) / self.width) as usize;
            if let Some(count) = side.get_mut(bin.min(BINS - 1)) {
                *count += 1;
            }
        }
        true
    }

    /// Doubles the bins until they reach to `largest`.
    fn widen(&mut self, largest: f64) {
        if largest == 0.0 {
            return;
        }
        if self.width == 0.0 {
            self.width = largest / BINS as f64;
        }
        while self.width * (BINS as f64) < largest {
            self.width *= 2.0;
            for side in [&mut self.positive, &mut self.negative] {
                let pairs: Vec<u64> = side.chunks(2).map(|pair| pair.iter().sum()).collect();
                side.fill(0);
                side.iter_mut()
                    .zip(pairs)
                    .for_each(|(bin, pair)| *bin = pair);
            }
        }
    }

    /// The least and the largest value seen, 0 among them.
    pub(super) fn range(&self) -> (f32, f32) {
        (self.least, self.most)
    }

    /// The range of least mean squared error: what lies outside is cut off, and a narrower range has finer steps. Zero is
    /// always met exactly; where nothing is below it, the range begins there.
    pub(super) fn best(&self) -> InputScale {
        let (least, most) = (f64::from(self.least), f64::from(self.most));
        let mut best: Option<(f64, InputScale)> = None;
        for tried in 1..=TRIED {
            let share = tried as f64 / TRIED as f64;
            let found = scale_of(least * share, most * share);
            let error = self.error(found);
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, found));
            }
        }
        best.map_or(scale_of(least, most), |(_, found)| found)
    }

    /// The whole range.
    pub(super) fn whole(&self) -> InputScale {
        scale_of(self.least.into(), self.most.into())
    }

    /// The range that leaves out so large a share of all values, those furthest from zero.
    pub(super) fn percentile(&self, left_out: f64) -> InputScale {
        let all = self.zeros + self.positive.iter().chain(&self.negative).sum::<u64>();
        let most = (all as f64 * left_out) as u64;
        let (mut out, mut end) = (0, BINS);
        for (bin, (p, n)) in self.positive.iter().zip(&self.negative).enumerate().rev() {
            out += p + n;
            if out > most {
                end = bin + 1;
                break;
            }
        }
        let end = end as f64 * self.width;
        scale_of(
            f64::from(self.least).max(-end),
            f64::from(self.most).min(end),
        )
    }

    /// The sum of squared errors of all values, but for those that are 0.
    fn error(&self, scale: InputScale) -> f64 {
        let step = f64::from(scale.scale);
        let zero = f64::from(scale.zero_point);
        let rounding = step * step / 12.0;
        let of = |side: &[u64], end: f64| {
            let bins = side.iter().enumerate().filter(|(_, count)| **count > 0);
            let errors = bins.map(|(bin, &count)| {
                let value = (bin as f64 + 0.5) * self.width;
                let cut = value - end - step / 2.0;
                let each = match cut > 0.0 {
                    true => (value - end).powi(2),
                    // A value below half a step is taken for zero.
                    false => rounding.min(value * value),
                };
                count as f64 * each
            });
            errors.sum::<f64>()
        };
        of(&self.positive, (STEPS - zero) * step) + of(&self.negative, zero * step)
    }
}

/// The scale for values from `least` (at most 0) to `most` (at least 0).
fn scale_of(least: f64, most: f64) -> InputScale {
    let scale = ((most - least) / STEPS) as f32;
    if !scale.is_normal() {
        return InputScale {
            scale: 1.0,
            zero_point: 0,
        };
    }
    let zero_point = (-least / f64::from(scale)).round_ties_even();
    InputScale {
        scale,
        zero_point: zero_point.clamp(0.0, STEPS) as u8,
    }
}
