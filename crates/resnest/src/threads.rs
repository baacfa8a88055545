//! The threads that a classifier decodes and computes on.

use std::error::Error as _;
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};
use resnest_model::{PerProcess, current_threads, forks, with_threads};

use crate::Error;

/// More threads than this are a slip of the keyboard: no machine gains by them, and to start them takes long.
pub const MOST_THREADS: usize = 1024;

/// So many threads for work of one's own, whatever others do, or those that all share.
///
/// A fork of the process has none of its threads; it starts its own when there is work.
#[derive(Debug, Default)]
pub struct Threads {
    /// The pool, or `None` where a fork could not start one: work is then its caller's. Without a number there is none.
    own: Option<(usize, PerProcess<Option<ThreadPool>>)>,
}

impl Threads {
    /// So many; 0 for as many as there are CPUs.
    ///
    /// # Errors
    /// [`Error::Threads`] if they cannot be started; [`Error::TooManyThreads`].
    pub fn new(threads: usize) -> Result<Self, Error> {
        if threads > MOST_THREADS {
            let most = MOST_THREADS;
            return Err(Error::TooManyThreads { threads, most });
        }
        let pool = start(threads).map_err(|source| Error::Threads {
            threads,
            source: Box::new(source),
        })?;
        let count = pool.current_num_threads();
        Ok(Self {
            own: Some((count, PerProcess::with(Some(pool)))),
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        match &self.own {
            Some((count, _)) => *count,
            None => current_threads(),
        }
    }

    /// Runs `work` with its parallel loops on these threads: rayon's, which decode, and the kernels' own.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Some((count, pool)) = &self.own else {
            return work();
        };
        match pool.get_or_init(|| start(*count).ok()) {
            Some(pool) => pool.install(|| with_threads(*count, work)),
            None => with_threads(*count, work),
        }
    }

    /// Whether rayon's loops have threads to run on in [`run`](Self::run): elsewhere they would wait for some.
    pub(crate) fn has_pool(&self) -> bool {
        match &self.own {
            Some((count, pool)) => pool.get_or_init(|| start(*count).ok()).is_some(),
            None => shared_pool(),
        }
    }
}

fn start(threads: usize) -> Result<ThreadPool, rayon::ThreadPoolBuildError> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("resnest-{i}"))
        .build()
}

/// Whether rayon's global pool, where classifiers without a number of threads prepare their images, is there or can be
/// started. Where the system has no threads left, and in a fork, which cannot start it again, work stays on its caller's.
fn shared_pool() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    let start = || match ThreadPoolBuilder::new().build_global() {
        Ok(()) => true,
        // That it was there before has no cause.
        Err(error) => error.source().is_none(),
    };
    rayon::current_thread_index().is_some() || (forks() == 0 && *THERE.get_or_init(start))
}
