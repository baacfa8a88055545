//! Trying again, not too soon and not for ever.

use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::Duration;

use super::error::HubError;
use super::http::Failure;
use super::options::HubOptions;

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

    /// Notes a failure and waits, or says that it was the last one allowed.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        if self.failed >= self.allowed {
            return false;
        }
        let pause = asked.unwrap_or_else(|| delay(self.options.backoff, self.failed));
        self.failed += 1;
        thread::sleep(pause.min(self.options.max_backoff));
        true
    }

    /// Runs `attempt` until it succeeds, fails for good, or the attempts are used up.
    pub(super) fn run<T>(
        mut self,
        url: &str,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, HubError> {
        loop {
            let failure = match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let asked = match &failure {
                Failure::Busy { wait, .. } => *wait,
                Failure::Transient(_) => None,
                Failure::Fatal(_) => return Err(failure.into_error(url, self.attempts + 1)),
            };
            if !self.wait(asked) {
                return Err(failure.into_error(url, self.attempts));
            }
        }
    }
}

impl Failure {
    /// The error that this failure is when nothing more is tried.
    pub(super) fn into_error(self, url: &str, attempts: u32) -> HubError {
        let url = url.to_owned();
        match self {
            Self::Transient(cause) => HubError::Unreachable {
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
