//! Whether the network still answers, as its last batch shows.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the thread that computes is at.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Since when a batch is being computed.
    busy: Option<Instant>,
    /// Why the last batch has no answers.
    failed: Option<String>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            busy: None,
            failed: None,
        }))
    }

    pub(super) fn begin(&self) {
        self.with(|state| state.busy = Some(Instant::now()));
    }

    /// A batch has ended, with answers or without any.
    pub(super) fn end(&self, failed: Option<String>) {
        self.with(|state| {
            *state = State { busy: None, failed };
        });
    }

    /// See [`super::Engine::trouble`].
    pub(super) fn trouble(&self, patience: Duration) -> Option<String> {
        self.with(|state| {
            let stuck = state.busy.map(|since| since.elapsed());
            match stuck.filter(|busy| *busy > patience) {
                Some(busy) => Some(format!(
                    "a batch has been computing for {:.0} s",
                    busy.as_secs_f64()
                )),
                None => state.failed.clone(),
            }
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_the_last_batch_s_and_ends_with_a_good_one() {
        let pulse = Pulse::new();
        let patience = Duration::from_secs(60);
        assert_eq!(pulse.trouble(patience), None);
        pulse.begin();
        assert_eq!(pulse.trouble(patience), None);
        assert!(
            pulse
                .trouble(Duration::ZERO)
                .is_some_and(|text| text.contains("computing"))
        );
        pulse.end(Some("no memory".into()));
        assert_eq!(pulse.trouble(patience).as_deref(), Some("no memory"));
        pulse.begin();
        pulse.end(None);
        assert_eq!(pulse.trouble(patience), None);
    }
}
