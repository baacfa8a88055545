//! How many threads a caller's loops may use.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// How many threads the loops of a caller may use together, those inside their tasks included.
#[derive(Clone)]
pub(super) struct Limit {
    pub threads: usize,
    /// Helpers that may still join any of those loops.
    pub spare: Arc<AtomicUsize>,
}

impl Limit {
    pub fn new(threads: usize) -> Self {
        Limit {
            threads,
            spare: Arc::new(AtomicUsize::new(threads.saturating_sub(1))),
        }
    }

    /// One of the spare helpers, if there is one.
    pub fn take(&self) -> bool {
        let less = |spare: usize| spare.checked_sub(1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.spare.fetch_update(set, fetch, less).is_ok()
    }

    pub fn give_back(&self) {
        self.spare.fetch_add(1, Ordering::AcqRel);
    }
}

thread_local! {
    /// That of the calling thread; while a helper works, that of the loop's caller.
    static LIMIT: RefCell<Option<Limit>> = const { RefCell::new(None) };
}

/// Runs `f` under a limit of its own, which ends with `f`, by return or by panic.
pub(super) fn with_limit<R>(limit: Option<Limit>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Limit>);
    impl Drop for Restore {
        fn drop(&mut self) {
            LIMIT.replace(self.0.take());
        }
    }
    let _restore = Restore(LIMIT.replace(limit));
    f()
}

/// The calling thread's; made if it has none.
pub(super) fn limit() -> Limit {
    LIMIT.with_borrow_mut(|limit| {
        limit
            .get_or_insert_with(|| Limit::new(default_threads()))
            .clone()
    })
}

/// Runs `f` with its parallel loops limited to `threads` threads, this one included: all loops
/// together, those too that tasks of a loop run, on whichever thread.
///
/// It is a limit, not a wish: more threads than CPUs are never used, for they would only be in each
/// other's way, and fewer where the system does not start them. The setting is the calling thread's; it
/// ends with `f`, by return or by panic. `0` means the default of [`default_threads`].
pub fn with_threads<R>(threads: usize, f: impl FnOnce() -> R) -> R {
    with_limit((threads > 0).then(|| Limit::new(threads)), f)
}

/// The limit for parallel loops of the calling thread; inside a task, that of the loop's caller.
pub fn current_threads() -> usize {
    LIMIT.with_borrow(|limit| limit.as_ref().map_or_else(default_threads, |l| l.threads))
}

/// `RAYON_NUM_THREADS` if it is a number above 0, else the CPUs this process may use.
pub fn default_threads() -> usize {
    static DEFAULT: OnceLock<usize> = OnceLock::new();
    *DEFAULT.get_or_init(|| {
        std::env::var("RAYON_NUM_THREADS")
            .ok()
            .and_then(|value| value.parse().ok())
            .filter(|&threads| threads > 0)
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    })
}
