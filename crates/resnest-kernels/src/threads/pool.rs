//! The helpers: started as they are first asked for, asleep when there is nothing to do.

use super::fork::PerProcess;
use super::job::{End, Job, lock};
use super::limit::with_limit;
use crate::tuning::IDLE_POLLS;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most helpers of tests that want more of them than there are CPUs.
const MOST_IN_TESTS: usize = 15;
/// After a thread could not be started, so long no other is tried: limits do not change from one layer
/// to the next.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// The helpers of this process, started as they are first asked for.
pub(super) struct Pool {
    pub state: Mutex<State>,
    wake: Condvar,
    /// Counts published jobs, so that an idle helper can poll without the lock.
    published: AtomicUsize,
    /// Most helpers: with the caller as many as there are CPUs.
    most: AtomicUsize,
    /// Starts a thread; another one in tests.
    spawn: Spawn,
}

/// Starts the helper of this number.
pub(super) type Spawn = fn(&'static Pool, usize) -> std::io::Result<()>;

#[derive(Default)]
pub(super) struct State {
    jobs: Vec<Arc<Job>>,
    started: usize,
    sleeping: usize,
    /// When the system last refused to start a thread.
    pub refused: Option<Instant>,
}

pub(super) fn pool() -> &'static Pool {
    static POOL: PerProcess<Pool> = PerProcess::new();
    POOL.get_or_init(|| {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Pool::new(cpus - 1, spawn)
    })
}

fn spawn(pool: &'static Pool, index: usize) -> std::io::Result<()> {
    let helper = std::thread::Builder::new().name(format!("resnest-{index}"));
    let end = [End::Last, End::First][index % 2];
    helper.spawn(move || pool.help(end)).map(|_| ())
}

impl Pool {
    pub fn new(most: usize, spawn: Spawn) -> Self {
        Pool {
            state: Mutex::new(State::default()),
            wake: Condvar::new(),
            published: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            spawn,
        }
    }

    /// Starts helpers until there are `wanted`, or as many as there may be; gives how many of them there
    /// are. If the system refuses one, those before must do.
    pub fn grow(&'static self, wanted: usize) -> usize {
        let wanted = wanted.min(self.most.load(Ordering::Relaxed));
        let mut state = lock(&self.state);
        let waits = |refused: Instant| refused.elapsed() < RETRY;
        while state.started < wanted && !state.refused.is_some_and(waits) {
            match (self.spawn)(self, state.started) {
                Ok(()) => state.started += 1,
                Err(_) => state.refused = Some(Instant::now()),
            }
        }
        state.started.min(wanted)
    }

    pub fn publish(&self, job: &Arc<Job>) {
        let mut state = lock(&self.state);
        state.jobs.push(Arc::clone(job));
        self.published.fetch_add(1, Ordering::Release);
        let wake = state.sleeping.min(job.helpers.load(Ordering::Relaxed));
        drop(state);
        for _ in 0..wake {
            self.wake.notify_one();
        }
    }

    pub fn retract(&self, job: &Arc<Job>) {
        lock(&self.state)
            .jobs
            .retain(|other| !Arc::ptr_eq(other, job));
    }

    /// A helper's life.
    fn help(&self, end: End) {
        loop {
            let seen = self.published.load(Ordering::Acquire);
            // A binding of its own, so that the lock is released before the work.
            let job = Self::take(&mut lock(&self.state));
            match job {
                Some(job) => {
                    with_limit(Some(job.limit.clone()), || job.work(end));
                    job.limit.give_back();
                }
                None => self.idle(seen),
            }
        }
    }

    /// The oldest job that wants help.
    fn take(state: &mut State) -> Option<Arc<Job>> {
        let joins = |job: &&Arc<Job>| job.wants_help() && job.limit.take();
        let job = state.jobs.iter().find(joins)?;
        job.helpers.fetch_sub(1, Ordering::Relaxed);
        Some(Arc::clone(job))
    }

    /// Polls for a while, then sleeps until something is published.
    fn idle(&self, seen: usize) {
        for _ in 0..IDLE_POLLS {
            if self.published.load(Ordering::Acquire) != seen {
                return;
            }
            std::hint::spin_loop();
        }
        let mut state = lock(&self.state);
        while !state.jobs.iter().any(|job| job.wants_help()) {
            state.sleeping += 1;
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.sleeping -= 1;
        }
    }
}

/// Lets loops of this process have more helpers than there are CPUs (15 at most): for tests that look for
/// races on machines of few CPUs.
#[doc(hidden)]
pub fn oversubscribe() {
    pool().most.fetch_max(MOST_IN_TESTS, Ordering::Relaxed);
}
