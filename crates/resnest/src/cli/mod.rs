//! The command line: one match over the commands, and the exit status they end with.

mod args;
mod classify;
mod download;
mod info;
mod inputs;
mod load;
mod models;
mod output;
mod progress;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// How a command that ran ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Everything asked for was done: exit status 0.
    Done,
    /// Some inputs failed, the others were done: exit status 1.
    SomeFailed,
}

/// Why a command could not run.
#[derive(Debug)]
pub enum Failure {
    /// Anything that is nobody's option or model: exit status 1.
    Other(anyhow::Error),
    /// Options that make no sense: exit status 2, as clap's own.
    Usage(anyhow::Error),
    /// The model could not be had: exit status 3.
    Model(anyhow::Error),
}

/// Reads the options, runs the command, reports on standard error and returns the exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match &cli.command {
        Command::Classify(args) => classify::run(args),
        Command::Models(args) => models::run(args),
        Command::Download(args) => download::run(args),
        Command::Info(args) => info::run(args),
    };
    let (status, error) = match ended {
        Ok(Status::Done) => return ExitCode::SUCCESS,
        Ok(Status::SomeFailed) => return ExitCode::from(1),
        Err(Failure::Other(error)) => (1, error),
        Err(Failure::Usage(error)) => (2, error),
        Err(Failure::Model(error)) => (3, error),
    };
    eprintln!("error: {error:#}");
    ExitCode::from(status)
}

/// Writes to standard output; a reader that has gone (`| head`) is no error.
fn say(text: &str) -> Result<Status, Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Other(
            anyhow::Error::from(error).context("cannot write to standard output"),
        )),
        _ => Ok(Status::Done),
    }
}
