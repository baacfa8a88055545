//! `resnest bench`: timm's `benchmark.py` for this engine.
//!
//! Each model runs in a process of its own, this executable started again: so its peak of memory is
//! its own, and one that the system kills takes no other's result along.

mod args;
mod cores;
mod measure;
mod memory;
mod report;
mod subject;

use std::process::{Command, Stdio};

use anyhow::{Context, Error, anyhow};
use resnest::model::with_threads;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::args::TableFormat;
use super::words::shown_lines;
use super::{Failure, Status, print};
pub use args::BenchArgs;
use measure::Measured;

/// What the process of one model says on its standard output.
#[derive(Serialize, Deserialize)]
enum Reply {
    Done(Box<Measured>),
    Failed { status: u8, error: String },
}

/// One model's result, or why there is none.
type Outcome = Result<Box<Measured>, Failure>;

/// Measures each model; one that fails does not keep the others from being measured.
pub fn run(args: &BenchArgs) -> Result<Status, Failure> {
    if let Some(index) = args.only {
        return answer(args, index);
    }
    if args.checkpoint.is_some() && args.models.len() > 1 {
        let problem = "--checkpoint goes with one --model, whose weights it holds";
        return Err(Failure::Usage(anyhow!(problem)));
    }
    let mut outcomes: Vec<Outcome> = (0..args.models.len()).map(|i| ask(args, i)).collect();
    write(args, &outcomes)?;
    match (outcomes.iter().all(Result::is_ok), outcomes.pop()) {
        (true, _) => Ok(Status::Done),
        (false, Some(Err(failure))) if outcomes.is_empty() => Err(failure),
        (false, _) => Ok(Status::SomeFailed),
    }
}

/// The other side of [`ask`].
fn answer(args: &BenchArgs, index: usize) -> Result<Status, Failure> {
    let Some(name) = args.models.get(index) else {
        return Err(Failure::Usage(anyhow!("--only {index}: no such model")));
    };
    let threads = args.compute.threads.unwrap_or(0);
    let reply = match with_threads(threads, || measure::measure(name, args)) {
        Ok(measured) => Reply::Done(Box::new(measured)),
        Err(failure) => Reply::Failed {
            status: failure.status(),
            error: failure.message(),
        },
    };
    print(&serde_json::to_string(&reply).unwrap_or_default())
}

/// Has the model measured by a process of its own. Where it is one of several, says at once why it
/// could not be.
fn ask(args: &BenchArgs, index: usize) -> Outcome {
    let (status, error) = match start(args, index) {
        Ok(Reply::Done(measured)) => return Ok(measured),
        Ok(Reply::Failed { status, error }) => (status, Error::msg(error)),
        Err(error) => (1, error),
    };
    let error = error.context(format!("model {}", args.models[index]));
    if args.models.len() > 1 {
        eprintln!("error: {}", shown_lines(&format!("{error:#}")));
    }
    Err(Failure::new(status, error))
}

fn start(args: &BenchArgs, index: usize) -> Result<Reply, Error> {
    let itself = std::env::current_exe().context("cannot find this program to start it")?;
    let mut given = std::env::args_os().skip(1);
    let mut command = Command::new(itself);
    command
        .args(given.next())
        .args(["--only", &index.to_string()])
        .args(given)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if let Some(threads) = args.compute.threads {
        // For candle's own operations, which run on rayon's global pool.
        command.env("RAYON_NUM_THREADS", threads.to_string());
    }
    let output = command.output().context("cannot start a process")?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| anyhow!("its process ended early, {}", output.status))
}

fn write(args: &BenchArgs, outcomes: &[Outcome]) -> Result<Status, Failure> {
    match args.format {
        TableFormat::Json => {
            let all = args.models.iter().zip(outcomes);
            let all: Vec<Value> = all.map(|(name, outcome)| object(name, outcome)).collect();
            print(&serde_json::to_string_pretty(&all).unwrap_or_default())
        }
        TableFormat::Text => {
            let measured: Vec<&Measured> = outcomes.iter().flatten().map(Box::as_ref).collect();
            if measured.is_empty() {
                return Ok(Status::Done);
            }
            let mut parts = vec![report::table(&measured)];
            for m in measured {
                if let Some(profile) = &m.profile {
                    parts.push(format!(
                        "{}, step by step:\n{}",
                        m.model,
                        report::profile(profile)
                    ));
                }
                if let Some(expected) = m.profile.as_ref().and_then(|p| p.expected.as_ref()) {
                    parts.push(format!(
                        "{} on other numbers of threads, by calculation from the tasks' times on one, ms:\n{}",
                        m.model,
                        report::expected(expected)
                    ));
                }
            }
            print(&shown_lines(&parts.join("\n\n")))
        }
    }
}

fn object(name: &str, outcome: &Outcome) -> Value {
    match outcome {
        Ok(measured) => json!(measured),
        Err(failure) => {
            // Without the model's name, which `ask` put before it.
            let reasons: Vec<String> = failure
                .error()
                .chain()
                .skip(1)
                .map(ToString::to_string)
                .collect();
            json!({"model": name, "error": reasons.join(": ")})
        }
    }
}
