//! Trying again, not too soon and not for ever.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::Duration;

use super::http::Failure;
use crate::hub::error::{HubError, seconds};
use crate::hub::options::HubOptions;

/// Counts attempts and waits between them.
pub(super) struct Retries<'a> {
    options: &'a HubOptions,
    allowed: u32,
    /// Failures since the last progress.
    failed: u32,
    /// Attempts in all, for messages.
    attempts: u32,
}

impl<'a> Retries<'a> {
    pub(super) fn new(options: &'a HubOptions, allowed: u32) -> Self {
        Self {
            options,
            allowed,
            failed: 0,
            attempts: 0,
        }
    }

    /// How many attempts have failed in all.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Forgets earlier failures: the transfer gets on.
    pub(super) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Counts a failure; returns how long to wait before another attempt, if there may be one.
    pub(super) fn next(&mut self, failure: &Failure) -> Next {
        self.attempts = self.attempts.saturating_add(1);
        let allowed = match failure {
            Failure::Lasting(_) => self.allowed.min(LASTING),
            _ => self.allowed,
        };
        if self.failed >= allowed {
            return Next::GiveUp;
        }
        let most = self.options.max_backoff;
        let pause = match failure {
            Failure::Busy {
                wait: Some(asked), ..
            } => {
                if *asked > most.saturating_mul(allowed - self.failed) {
                    return Next::Overloaded(*asked);
                }
                *asked
            }
            _ => delay(self.options.backoff, self.failed),
        };
        self.failed += 1;
        Next::After(pause.min(most))
    }

    /// Runs `attempt` until it succeeds, fails for good, or the attempts are used up. Says of every failure
    /// what is to come.
    pub(super) fn run<T>(
        mut self,
        url: &str,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, HubError> {
        loop {
            let failure = match attempt() {
                Ok(value) => return Ok(value),
                Err(failure @ Failure::Fatal(_)) => {
                    return Err(failure.into_error(url, self.attempts + 1));
                }
                Err(failure) => failure,
            };
            match self.next(&failure) {
                Next::GiveUp => return Err(failure.into_error(url, self.attempts)),
                Next::Overloaded(asked) => return Err(overloaded(url, &failure, asked)),
                Next::After(pause) => {
                    let message = format!("{url}: {failure}; trying again in {}", seconds(pause));
                    self.options.warn(&message);
                    thread::sleep(pause);
                }
            }
        }
    }
}

/// What follows a failure.
pub(super) enum Next {
    /// Another attempt after this time.
    After(Duration),
    /// The server asks for more time than all further attempts together would wait.
    Overloaded(Duration),
    /// No further attempt.
    GiveUp,
}

/// Further attempts after a failure that hardly passes.
const LASTING: u32 = 1;

pub(super) fn overloaded(url: &str, failure: &Failure, asked: Duration) -> HubError {
    let status = match failure {
        Failure::Busy { status, .. } => *status,
        _ => 0,
    };
    HubError::Overloaded {
        url: url.to_owned(),
        status,
        asked,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient(cause) | Self::Lasting(cause) => f.write_str(cause),
            Self::Busy {
                status, message, ..
            } if message.is_empty() => write!(f, "status {status}"),
            Self::Busy {
                status, message, ..
            } => write!(f, "status {status} ({message})"),
            Self::Fatal(error) => error.fmt(f),
        }
    }
}

impl Failure {
    /// The error that this failure is when nothing more is tried.
    pub(super) fn into_error(self, url: &str, attempts: u32) -> HubError {
        let url = url.to_owned();
        match self {
            Self::Transient(cause) | Self::Lasting(cause) => HubError::Unreachable {
                url,
                attempts,
                cause,
            },
            Self::Busy {
                status, message, ..
            } => HubError::Status {
                url,
                status,
                attempts,
                message,
            },
            Self::Fatal(HubError::Unreachable { cause, .. }) => HubError::Unreachable {
                url,
                attempts,
                cause,
            },
            Self::Fatal(error) => error,
        }
    }
}

/// `base * 2^failed`, plus up to a quarter so that clients do not return in step.
fn delay(base: Duration, failed: u32) -> Duration {
    let doubled = base.saturating_mul(1 << failed.min(16));
    // A fresh RandomState is seeded differently each time: randomness enough for jitter.
    let random = RandomState::new().hash_one(failed) % 1024;
    let quarter = doubled / 4;
    doubled.saturating_add(quarter.mul_f64(random as f64 / 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_with_jitter() {
        let base = Duration::from_millis(100);
        for failed in 0..6 {
            let least = base * (1 << failed);
            let got = delay(base, failed);
            assert!(
                (least..=least + least / 4).contains(&got),
                "{failed}: {got:?}"
            );
        }
        assert!(delay(Duration::MAX, 40) == Duration::MAX);
    }
}
