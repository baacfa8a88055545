//! What is measured of the maps that enter convolutions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Result, Tensor};
use rayon::prelude::*;
use resnest_model::{ConvSpec, InputScale, Watch};

use super::range::Histogram;
use super::simulate::fake_quantise;

/// What entered one convolution.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub spec: ConvSpec,
    pub histogram: Histogram,
    /// The largest magnitude of each channel.
    pub largest: Vec<f32>,
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

/// Measures what enters every convolution; those of a table compute from inputs rounded to it, and it is the rounded ones
/// that are measured.
#[derive(Debug, Default)]
pub(super) struct Observer {
    /// Convolutions whose inputs are rounded before they are measured.
    pub inputs: BTreeMap<String, InputScale>,
    /// Whether the network goes on from what was rounded.
    pub replace: bool,
    seen: Mutex<BTreeMap<String, Seen>>,
    order: Mutex<Vec<String>>,
}

impl Observer {
    pub(super) fn rounding(inputs: BTreeMap<String, InputScale>, replace: bool) -> Arc<Self> {
        Arc::new(Self {
            inputs,
            replace,
            ..Self::default()
        })
    }

    /// What was measured, and the names in the order in which they ran.
    pub(super) fn take(&self) -> (BTreeMap<String, Seen>, Vec<String>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut *seen), std::mem::take(&mut *order))
    }
}

impl Watch for Observer {
    fn input(&self, path: &str, spec: &ConvSpec, x: &Tensor) -> Result<Option<Tensor>> {
        let (n, c, h, w) = x.dims4()?;
        let rounded = match self.inputs.get(path) {
            Some(scale) => Some(fake_quantise(x, *scale)?),
            None => None,
        };
        let values = rounded
            .as_ref()
            .unwrap_or(x)
            .flatten_all()?
            .to_vec1::<f32>()?;
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(path) {
            let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            order.push(path.to_owned());
        }
        let seen = all.entry(path.to_owned()).or_insert_with(|| Seen {
            spec: *spec,
            histogram: Histogram::default(),
            largest: vec![0.0; c],
            means: Means::default(),
        });
        if !seen.histogram.add(&values) {
            candle_core::bail!("{path}: what enters it is not finite");
        }
        for (map, largest) in values.chunks(h * w).zip((0..c).cycle()) {
            if let Some(largest) = seen.largest.get_mut(largest) {
                *largest = map.iter().fold(*largest, |most, v| most.max(v.abs()));
            }
        }
        seen.means.add(spec, [n, c, h, w], &values);
        drop(all);
        Ok(rounded.filter(|_| self.replace))
    }
}
