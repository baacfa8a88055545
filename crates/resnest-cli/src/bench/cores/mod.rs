//! What more threads would make of a network, by calculation: `bench --profile` has the tasks of all loops timed on one
//! thread and shares them out among others that this machine may not have.

mod pool;

use std::time::{Duration, Instant};

use anyhow::Error;
use candle_core::Tensor;
use resnest::ResNet;
use resnest::model::{RecordedLoop, TimedStep, record_loops, with_threads};
use serde::{Deserialize, Serialize};

use super::measure::{median, milliseconds};
use pool::{Costs, Part, Pool};

/// For so many threads it is worked out.
pub const THREADS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// The pool's costs in milliseconds as far as two threads do not show them. What a lock takes that passes from one core
/// to the next is an estimate; the others are those of the kernels' `tuning.rs`, seen on a Zen 3.
const ASSUMED: Costs = Costs {
    join: 1e-3,
    turn: 2e-4,
    leave: 5e-4,
    awake: 0.1,
    wake: 8e-3,
    woken: 20e-3,
};

/// What is expected of a network, for each number of [`THREADS`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Expected {
    pub threads: Vec<usize>,
    /// An ordinary forward of the batch.
    pub forward_ms: Vec<f64>,
    /// What the caller does alone in it, in milliseconds.
    pub serial_ms: f64,
    /// Of the threads' time the share that would be needed on one.
    pub efficiency: Vec<f64>,
    /// What was measured beside it, by the median, where this machine has the threads: for one and two.
    pub measured_ms: Vec<Option<f64>>,
    /// The steps of the profile.
    pub steps: Vec<ExpectedStep>,
}

/// One step of a profile.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExpectedStep {
    pub path: String,
    /// Tasks of its loops.
    pub tasks: usize,
    /// The longest of them, in milliseconds.
    pub longest_ms: f64,
    /// What the caller does alone, in milliseconds.
    pub serial_ms: f64,
    pub ms: Vec<f64>,
}

/// What was seen of a network so far.
#[derive(Default)]
pub struct Cores {
    /// For each profiled run the parts of each step; for each ordinary one its parts.
    profiles: Vec<Vec<Vec<Part>>>,
    forwards: Vec<Vec<Vec<Part>>>,
    paths: Vec<String>,
    measured: [Vec<f64>; 2],
    joins: Vec<f64>,
    leaves: Vec<f64>,
}

impl Cores {
    /// Runs the network a few times more: recorded on one thread, step by step and as always, and timed on one and two.
    pub fn observe(&mut self, model: &ResNet, x: &Tensor) -> Result<(), Error> {
        let start = Instant::now();
        let (profile, loops) = with_threads(1, || record_loops(|| model.profile(x)));
        let steps = profile?.1;
        self.profiles.push(cut(start, &durations(&steps), &loops));
        self.paths = steps.into_iter().map(|timed| timed.step.path).collect();
        let (time, loops) = forward(model, x, 1)?;
        self.forwards.push(cut(loops.0, &[time], &loops.1));
        let two = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
        for threads in 1..=if two { 2 } else { 1 } {
            let start = Instant::now();
            with_threads(threads, || model.forward(x))?;
            self.measured[threads - 1].push(milliseconds(start.elapsed()));
        }
        if two {
            let (_, loops) = forward(model, x, 2)?;
            self.costs_of(&loops.1);
        }
        Ok(())
    }

    /// How long helpers took to join loops, and callers to leave them.
    fn costs_of(&mut self, loops: &[RecordedLoop]) {
        for recorded in loops {
            let helped = recorded.tasks.iter().filter(|task| task.helped);
            if let Some(join) = helped.map(|task| task.begin).min() {
                self.joins.push(milliseconds(join));
                let ends = recorded.tasks.iter().map(|task| task.begin + task.duration);
                let last = ends.max().unwrap_or_default();
                self.leaves
                    .push(milliseconds(recorded.duration.saturating_sub(last)));
            }
        }
    }

    /// Shares out what was seen.
    pub fn expected(mut self) -> Expected {
        let mut costs = ASSUMED;
        if !self.joins.is_empty() {
            costs.join = lower(&mut self.joins, 10);
            costs.leave = lower(&mut self.leaves, 10);
        }
        let forward = typical(&self.forwards);
        let forward_ms = THREADS.map(|threads| run_twice(threads, costs, &forward).iter().sum());
        let first: f64 = forward_ms[0];
        let efficiency = THREADS.iter().zip(forward_ms);
        let efficiency = efficiency.map(|(&threads, ms)| first / (ms * threads as f64));
        let mut measured_ms = vec![None; THREADS.len()];
        for (place, times) in measured_ms.iter_mut().zip(&mut self.measured) {
            *place = (!times.is_empty()).then(|| median(times));
        }
        Expected {
            threads: THREADS.to_vec(),
            forward_ms: forward_ms.to_vec(),
            serial_ms: forward.iter().flatten().filter_map(Part::serial).sum(),
            efficiency: efficiency.collect(),
            measured_ms,
            steps: steps(self.paths, &typical(&self.profiles), costs),
        }
    }
}

/// A recorded forward on so many threads: its milliseconds, when it began and its loops.
#[allow(clippy::type_complexity, reason = "used above and nowhere else")]
fn forward(
    model: &ResNet,
    x: &Tensor,
    threads: usize,
) -> Result<(Duration, (Instant, Vec<RecordedLoop>)), Error> {
    let start = Instant::now();
    let (y, loops) = with_threads(threads, || record_loops(|| model.forward(x)));
    let time = start.elapsed();
    y?;
    Ok((time, (start, loops)))
}

fn durations(steps: &[TimedStep]) -> Vec<Duration> {
    steps.iter().map(|timed| timed.duration).collect()
}

/// What belongs to each of the steps that follow each other from `start` on: loops, and between them what is serial.
fn cut(start: Instant, steps: &[Duration], loops: &[RecordedLoop]) -> Vec<Vec<Part>> {
    let mut loops = loops.iter().peekable();
    let mut begin = start;
    let parts_of = |step: &Duration| {
        let end = begin + *step;
        let (mut at, mut parts) = (begin, Vec::new());
        while let Some(recorded) = loops.next_if(|l| l.begin < end) {
            let gap = recorded.begin.saturating_duration_since(at);
            parts.push(Part::Serial(milliseconds(gap)));
            parts.push(Part::Loop {
                tasks: (recorded.tasks.iter())
                    .map(|task| milliseconds(task.duration))
                    .collect(),
                most: recorded.most_threads,
            });
            at = recorded.begin + recorded.duration;
        }
        let rest = end.saturating_duration_since(at);
        parts.push(Part::Serial(milliseconds(rest)));
        begin = end;
        parts
    };
    steps.iter().map(parts_of).collect()
}

/// The value that a tenth, or whichever `part` of them, of the sorted values are below. What else a machine does makes times
/// longer and never shorter; of a single one it can be most.
fn lower(values: &mut [f64], part: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / part).copied().unwrap_or(f64::NAN)
}

/// The lower quartiles, part by part, of the runs that are made as the first one is.
fn typical(runs: &[Vec<Vec<Part>>]) -> Vec<Vec<Part>> {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    let shape = |run: &[Vec<Part>]| -> Vec<Vec<usize>> {
        let size = |part: &Part| part.tasks().len();
        run.iter()
            .map(|step| step.iter().map(size).collect())
            .collect()
    };
    let alike: Vec<_> = runs
        .iter()
        .filter(|run| shape(run) == shape(first))
        .collect();
    let over_runs = |pick: &dyn Fn(&[Vec<Part>]) -> f64| {
        lower(
            &mut alike.iter().map(|run| pick(run)).collect::<Vec<_>>(),
            4,
        )
    };
    let part = |s: usize, p: usize| match &first[s][p] {
        Part::Serial(_) => Part::Serial(over_runs(&|run| run[s][p].serial().unwrap_or_default())),
        Part::Loop { tasks, most } => Part::Loop {
            tasks: (0..tasks.len())
                .map(|i| over_runs(&|run| run[s][p].tasks()[i]))
                .collect(),
            most: *most,
        },
    };
    let step = |s: usize| (0..first[s].len()).map(|p| part(s, p)).collect();
    (0..first.len()).map(step).collect()
}

/// Milliseconds of each step on so many threads, of a forward that follows another: helpers that fall asleep at its end
/// are asleep as it begins.
fn run_twice(threads: usize, costs: Costs, steps: &[Vec<Part>]) -> Vec<f64> {
    let mut pool = Pool::new(threads, costs);
    for step in steps {
        pool.run(step);
    }
    steps.iter().map(|step| pool.run(step)).collect()
}

fn steps(paths: Vec<String>, parts: &[Vec<Part>], costs: Costs) -> Vec<ExpectedStep> {
    let times = THREADS.map(|threads| run_twice(threads, costs, parts));
    let step = |(index, (path, parts)): (usize, (String, &Vec<Part>))| {
        let tasks = parts.iter().flat_map(Part::tasks);
        ExpectedStep {
            path,
            tasks: tasks.clone().count(),
            longest_ms: tasks.copied().fold(0.0, f64::max),
            serial_ms: parts.iter().filter_map(Part::serial).sum(),
            ms: times.iter().map(|steps| steps[index]).collect(),
        }
    };
    paths.into_iter().zip(parts).enumerate().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use resnest::model::RecordedTask;

    const MS: Duration = Duration::from_millis(1);

    fn recorded(begin: Instant, tasks: &[u32]) -> RecordedLoop {
        let task = |&ms: &u32| RecordedTask {
            duration: ms * MS,
            ..RecordedTask::default()
        };
        RecordedLoop {
            begin,
            duration: tasks.iter().sum::<u32>() * MS,
            most_threads: 9,
            tasks: tasks.iter().map(task).collect(),
        }
    }

    fn shared(tasks: &[f64]) -> Part {
        Part::Loop {
            tasks: tasks.to_vec(),
            most: 9,
        }
    }

    #[test]
    fn each_step_has_the_loops_that_began_in_it_and_the_time_between_them() {
        let start = Instant::now();
        let loops = [
            recorded(start + MS, &[1, 2]),
            recorded(start + 5 * MS, &[3]),
            recorded(start + 14 * MS, &[2]),
        ];
        let steps = cut(start, &[10 * MS, 2 * MS, 4 * MS], &loops);
        let expected = [
            vec![
                Part::Serial(1.0),
                shared(&[1.0, 2.0]),
                Part::Serial(1.0),
                shared(&[3.0]),
                Part::Serial(2.0),
            ],
            vec![Part::Serial(2.0)],
            vec![Part::Serial(2.0), shared(&[2.0]), Part::Serial(0.0)],
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn runs_are_joined_task_by_task() {
        let run = |serial: f64, tasks: &[f64]| vec![vec![Part::Serial(serial), shared(tasks)]];
        let runs = [
            run(1.0, &[5.0, 1.0]),
            run(2.0, &[3.0, 9.0]),
            run(9.0, &[4.0, 2.0]),
            run(8.0, &[4.0, 8.0]),
            // Another one's shape: left out.
            run(0.0, &[0.0]),
        ];
        assert_eq!(typical(&runs), run(2.0, &[4.0, 2.0]));
    }

    #[test]
    fn what_is_expected_adds_up() {
        let mut cores = Cores {
            forwards: vec![vec![vec![Part::Serial(1.0), shared(&[1.0; 8])]]],
            profiles: vec![vec![vec![Part::Serial(1.0)], vec![shared(&[1.0; 8])]]],
            paths: vec!["a".to_owned(), "b".to_owned()],
            ..Cores::default()
        };
        cores.measured[0] = vec![9.5, 9.0, 10.0];
        let expected = cores.expected();
        assert_eq!(expected.forward_ms[0], 9.0);
        assert_eq!(expected.efficiency[0], 1.0);
        assert!((expected.forward_ms[3] - 2.0).abs() < 0.3, "{expected:?}");
        assert!(expected.forward_ms[6] >= expected.forward_ms[4]);
        assert_eq!(expected.measured_ms[..2], [Some(9.5), None]);
        assert_eq!(expected.steps[1].path, "b");
        assert_eq!((expected.steps[1].tasks, expected.steps[0].ms[6]), (8, 1.0));
    }
}
