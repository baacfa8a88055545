//! What is measured of the maps that enter convolutions.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{Result, Tensor};
use rayon::prelude::*;
use resnest_model::{ConvSpec, Watch};

use super::range::Histogram;

/// What entered one convolution.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub spec: ConvSpec,
    pub histogram: Histogram,
    pub means: Means,
}

/// The mean of what each tap of a kernel meets, border included, for each channel: `[channel][tap]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Means {
    sums: Vec<f64>,
    /// Positions of the kernel.
    positions: u64,
}

impl Means {
    /// The mean for each channel and tap.
    pub(super) fn values(&self) -> Vec<f64> {
        let positions = self.positions.max(1) as f64;
        self.sums.iter().map(|sum| sum / positions).collect()
    }

    fn add(&mut self, spec: &ConvSpec, [n, c, h, w]: [usize; 4], values: &[f32]) {
        let taps = spec.kernel * spec.kernel;
        let reach = spec.dilation * (spec.kernel - 1) + 1;
        let out = |size: usize| {
            (size + 2 * spec.padding)
                .checked_sub(reach)
                .map_or(0, |room| room / spec.stride + 1)
        };
        let (oh, ow) = (out(h), out(w));
        self.sums.resize(c * taps, 0.0);
        self.positions += (n * oh * ow) as u64;
        let inside = |o: usize, tap: usize, size: usize| {
            let at = o * spec.stride + tap * spec.dilation;
            at.checked_sub(spec.padding).filter(|at| *at < size)
        };
        self.sums
            .par_chunks_mut(taps)
            .enumerate()
            .for_each(|(channel, sums)| {
                for image in 0..n {
                    let first = (image * c + channel) * h * w;
                    let map = values.get(first..first + h * w).unwrap_or_default();
                    for (tap, sum) in sums.iter_mut().enumerate() {
                        let (ky, kx) = (tap / spec.kernel, tap % spec.kernel);
                        for y in (0..oh).filter_map(|o| inside(o, ky, h)) {
                            let row = map.get(y * w..(y + 1) * w).unwrap_or_default();
                            let columns = (0..ow).filter_map(|o| inside(o, kx, w));
                            *sum += columns
                                .filter_map(|x| row.get(x))
                                .map(|v| f64::from(*v))
                                .sum::<f64>();
                        }
                    }
                }
            });
    }
}

/// Measures what enters every convolution.
#[derive(Debug, Default)]
pub(super) struct Observer(Mutex<BTreeMap<String, Seen>>);

impl Observer {
    /// What was measured.
    pub(super) fn take(&self) -> BTreeMap<String, Seen> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watch for Observer {
    fn input(&self, path: &str, spec: &ConvSpec, x: &Tensor) -> Result<Option<Tensor>> {
        let (n, c, h, w) = x.dims4()?;
        let values = x.flatten_all()?.to_vec1::<f32>()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = all.entry(path.to_owned()).or_insert_with(|| Seen {
            spec: *spec,
            histogram: Histogram::default(),
            means: Means::default(),
        });
        if !seen.histogram.add(&values) {
            candle_core::bail!("what enters {path} is no finite number: it cannot be quantised");
        }
        seen.means.add(spec, [n, c, h, w], &values);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, IndexOp};

    use super::*;
    use crate::quantize::weights::output_means;

    #[test]
    fn means_of_taps_give_the_mean_of_what_candle_puts_out() {
        for (kernel, stride, padding, dilation, groups) in [
            (1, 1, 0, 1, 1),
            (1, 2, 0, 1, 1),
            (3, 1, 1, 1, 2),
            (3, 2, 1, 1, 1),
            (3, 1, 2, 2, 1),
            (7, 2, 3, 1, 1),
        ] {
            let spec = ConvSpec::new(4, 6, kernel)
                .stride(stride)
                .padding(padding)
                .dilation(dilation)
                .groups(groups);
            let maps = [(2, 9, 7), (1, 9, 7)]
                .map(|(n, h, w)| Tensor::rand(-1f32, 2.0, (n, 4, h, w), &Device::Cpu).unwrap());
            let weight =
                Tensor::rand(-1f32, 1.0, (6, 4 / groups, kernel, kernel), &Device::Cpu).unwrap();
            let observer = Observer::default();
            for x in &maps {
                assert!(observer.input("a", &spec, x).unwrap().is_none());
            }
            let seen = &observer.take()["a"];
            let flat = weight.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let found = output_means(&spec, &flat, &seen.means.values());
            let all = Tensor::cat(&maps, 0).unwrap();
            let y = all
                .conv2d(&weight, padding, stride, dilation, groups)
                .unwrap();
            for (channel, found) in found.iter().enumerate() {
                let mean = y.i((.., channel)).unwrap().mean_all().unwrap();
                let mean = f64::from(mean.to_scalar::<f32>().unwrap());
                assert!((found - mean).abs() < 1e-5, "{spec}: {found} is not {mean}");
            }
        }
    }
}
