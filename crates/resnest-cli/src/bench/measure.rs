//! Timing: whole forwards, and with `--profile` each of their steps.

use std::time::{Duration, Instant};

use anyhow::{Error, anyhow};
use candle_core::{Device, Tensor};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use resnest::model::{PlannedLayer, TimedStep, current_threads, gmacs};
use resnest::{device_name, precision_name};
use serde::{Deserialize, Serialize};

use super::super::Failure;
use super::args::BenchArgs;
use super::cores::{Cores, Expected};
use super::memory::peak_rss_bytes;
use super::subject::Subject;

/// Fewer runs than this say nothing about their spread.
const LEAST_RUNS: usize = 3;

/// What was measured of one model; the fields are documented in `docs/cli.md` and stable.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    pub model: String,
    pub batch_size: usize,
    /// Channels, height, width.
    pub input_size: [usize; 3],
    pub threads: usize,
    pub device: String,
    /// `fast`, `exact` or `unfused`.
    pub precision: String,
    /// Of a batch.
    pub median_ms: f64,
    /// Of a batch.
    pub min_ms: f64,
    /// By the median.
    pub images_per_second: f64,
    /// Measured forwards.
    pub runs: usize,
    /// Weights read or drawn, built, fused; without the download.
    pub load_ms: f64,
    /// Of the process that ran this model and nothing else; none where the system does not say.
    pub peak_rss_bytes: Option<u64>,
    /// 10⁹ multiply-accumulates for one image.
    pub gmacs: f64,
    #[serde(flatten)]
    pub profile: Option<Profile>,
}

/// The steps of a forward, in their order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Profile {
    /// The sum of the steps' medians.
    pub layers_ms: f64,
    pub layers: Vec<Layer>,
    /// What other numbers of threads would make of it; none of a network that is not fused.
    pub expected: Option<Expected>,
}

/// One step of a forward.
#[derive(Debug, Serialize, Deserialize)]
pub struct Layer {
    pub path: String,
    pub operation: String,
    /// Of each fused layer in the step; none where nothing was chosen.
    pub algorithm: Option<String>,
    /// Median, of a batch.
    pub ms: f64,
    /// Of `layers_ms`, 0 to 1.
    pub share: f64,
    /// Two operations a multiply-accumulate; none for a step without.
    pub gflops: Option<f64>,
}

/// Loads and measures one model.
pub fn measure(name: &str, args: &BenchArgs) -> Result<Measured, Failure> {
    let subject = Subject::load(name, args)?;
    let x = input(&subject, args.batch_size).map_err(Failure::Usage)?;
    let times = run(&subject, &x, args).map_err(Failure::Other)?;
    report(name, &subject, args, times).map_err(Failure::Other)
}

fn report(
    name: &str,
    subject: &Subject,
    args: &BenchArgs,
    mut times: Times,
) -> Result<Measured, Error> {
    let (model, (height, width)) = (&subject.model, subject.size);
    let median_ms = median(&mut times.forwards);
    Ok(Measured {
        model: name.to_owned(),
        batch_size: args.batch_size,
        input_size: [model.config().in_chans, height, width],
        threads: current_threads(),
        device: device_name(&subject.device).to_owned(),
        precision: precision_name(subject.precision).to_owned(),
        median_ms,
        min_ms: times.forwards.first().copied().unwrap_or(f64::NAN),
        images_per_second: args.batch_size as f64 * 1e3 / median_ms,
        runs: times.forwards.len(),
        load_ms: milliseconds(subject.load),
        peak_rss_bytes: peak_rss_bytes(),
        gmacs: gmacs(model.config(), subject.size)?,
        profile: (args.profile).then(|| profile(times.profiles, times.cores, model.plan())),
    })
}

/// The same images for every model, seed and machine: uniform, of variance 1.
fn input(subject: &Subject, batch: usize) -> Result<Tensor, Error> {
    let (chans, (height, width)) = (subject.model.config().in_chans, subject.size);
    let sides = [batch, chans, height, width];
    let count = (sides.iter()).try_fold(1, |n: usize, &side| n.checked_mul(side));
    let mut values = Vec::new();
    count
        .and_then(|count| values.try_reserve_exact(count).ok().map(|()| count))
        .map(|count| {
            let (mut rng, bound) = (StdRng::seed_from_u64(0), 3f32.sqrt());
            values.extend((0..count).map(|_| rng.random_range(-bound..bound)));
        })
        .ok_or_else(|| anyhow!("no memory for {batch} images of {chans}x{height}x{width}"))?;
    let x = Tensor::from_vec(values, &sides, &Device::Cpu)?;
    Ok(x.to_device(&subject.device)?)
}

/// Milliseconds of each forward, and the steps of each profiled one.
struct Times {
    forwards: Vec<f64>,
    profiles: Vec<Vec<TimedStep>>,
    /// For a fused network that is profiled.
    cores: Option<Cores>,
}

/// Warms up, then measures until the time is over; a profiled run follows each measured one.
fn run(subject: &Subject, x: &Tensor, args: &BenchArgs) -> Result<Times, Error> {
    let start = Instant::now();
    while start.elapsed() < args.warmup {
        forward(subject, x)?;
    }
    let mut times = Times {
        forwards: Vec::new(),
        profiles: Vec::new(),
        cores: (args.profile && subject.model.is_fused()).then(Cores::default),
    };
    let start = Instant::now();
    while start.elapsed() < args.duration || times.forwards.len() < LEAST_RUNS {
        times.forwards.push(forward(subject, x)?);
        if args.profile {
            times.profiles.push(subject.model.profile(x)?.1);
        }
        if let Some(cores) = &mut times.cores {
            cores.observe(&subject.model, x)?;
        }
    }
    Ok(times)
}

fn forward(subject: &Subject, x: &Tensor) -> Result<f64, Error> {
    let start = Instant::now();
    let y = subject.model.forward(x)?;
    subject.device.synchronize()?;
    let time = milliseconds(start.elapsed());
    drop(y);
    Ok(time)
}

/// Medians of each step over all profiled runs.
fn profile(runs: Vec<Vec<TimedStep>>, cores: Option<Cores>, plan: &[PlannedLayer]) -> Profile {
    let steps = runs.first().map_or(0, Vec::len);
    let medians: Vec<f64> = (0..steps)
        .map(|i| {
            median(
                &mut runs
                    .iter()
                    .map(|run| milliseconds(run[i].duration))
                    .collect::<Vec<_>>(),
            )
        })
        .collect();
    let layers_ms: f64 = medians.iter().sum();
    let first = runs.into_iter().next().unwrap_or_default();
    let layer = |(TimedStep { step, .. }, ms): (TimedStep, f64)| Layer {
        algorithm: algorithm(&step.layers, plan),
        path: step.path,
        operation: step.operation,
        ms,
        share: ms / layers_ms,
        gflops: (step.macs > 0).then(|| 2.0 * step.macs as f64 / (ms * 1e6)),
    };
    Profile {
        layers_ms,
        layers: first.into_iter().zip(medians).map(layer).collect(),
        expected: cores.map(Cores::expected),
    }
}

/// The algorithms planned for these layers; one that neighbours share is named once.
fn algorithm(layers: &[String], plan: &[PlannedLayer]) -> Option<String> {
    let planned = |path: &String| plan.iter().find(|layer| layer.path == *path);
    let mut names: Vec<&str> = (layers.iter().filter_map(planned))
        .map(|layer| layer.algorithm.name())
        .collect();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Sorts the values; the middle one, or the mean of the two.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (0, 0) => f64::NAN,
        (middle, 0) => (values[middle - 1] + values[middle]) / 2.0,
        (middle, _) => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&mut [7.0]), 7.0);
        assert!(median(&mut []).is_nan());
    }
}
