//! A pool of helpers for parallel loops.
//!
//! The calling thread always works on its own loop, so no caller can starve; helpers join
//! whichever loop still has tasks. A loop ends when its tasks are finished, not when its helpers
//! have reported: a helper that the system has suspended between tasks delays nobody. Idle
//! helpers look for work for some microseconds (the next layer follows at once), then sleep.
//!
//! A limit of threads goes with the work: loops inside a task count as their caller's, whichever thread
//! runs them. Helpers are started when a loop first asks for them, no more than there are CPUs; where
//! the system starts none, those there are do the work, in the end the caller alone. A fork starts its own (`fork.rs`).

#[allow(
    unsafe_code,
    reason = "values behind an address, and the system's word that there was a fork"
)]
mod fork;
mod job;
mod limit;
pub(crate) mod parallel;
mod pool;
mod record;
#[cfg(test)]
mod tests;

pub use fork::{PerProcess, forks};
pub use limit::{current_threads, default_threads, with_threads};
pub use parallel::parallel_map;
pub use pool::oversubscribe;
pub use record::{RecordedLoop, RecordedTask, record_loops};
