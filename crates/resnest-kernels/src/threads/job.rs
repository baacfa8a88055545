//! One parallel loop: which tasks are taken and done.

use super::limit::Limit;
use crate::tuning::WAIT_POLLS;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

/// No thread panics while it holds a lock: a poisoned one is still sound.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One parallel loop.
pub(super) struct Job {
    pub task: &'static (dyn Fn(usize, Option<usize>) + Sync),
    pub total: usize,
    /// Tasks taken from the first on in the lower half, from the last on in the upper half.
    pub taken: AtomicU64,
    pub done: AtomicUsize,
    /// Helpers that may still join, and what else limits them.
    pub helpers: AtomicUsize,
    pub limit: Limit,
    pub panicked: Mutex<Option<Box<dyn std::any::Any + Send>>>,
    pub waiting: AtomicBool,
    pub owner: Thread,
}

/// Where a thread takes its tasks from.
#[derive(Clone, Copy)]
pub(super) enum End {
    First,
    Last,
}

/// The lower and the upper half.
fn halves(taken: u64) -> (usize, usize) {
    (taken as u32 as usize, (taken >> 32) as usize)
}

impl Job {
    /// Takes tasks until none is left.
    pub fn work(&self, end: End) {
        loop {
            let one = match end {
                End::First => 1,
                End::Last => 1 << 32,
            };
            let (first, last) = halves(self.taken.fetch_add(one, Ordering::Relaxed));
            if first + last >= self.total {
                return;
            }
            let (index, next) = match end {
                End::First => (first, Some(first + 1)),
                End::Last => {
                    let index = self.total - 1 - last;
                    (index, index.checked_sub(1))
                }
            };
            let next = next.filter(|_| first + last + 1 < self.total);
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (self.task)(index, next))) {
                *lock(&self.panicked) = Some(payload);
            }
            // SeqCst with `finish`: either the owner sees the last task done or we see it wait.
            let done = self.done.fetch_add(1, Ordering::SeqCst) + 1;
            if done == self.total && self.waiting.load(Ordering::SeqCst) {
                self.owner.unpark();
            }
        }
    }

    /// Waits for the tasks that helpers have taken.
    pub fn finish(&self) {
        for _ in 0..WAIT_POLLS {
            if self.done.load(Ordering::Acquire) == self.total {
                return self.rethrow();
            }
            std::hint::spin_loop();
        }
        self.waiting.store(true, Ordering::SeqCst);
        while self.done.load(Ordering::SeqCst) != self.total {
            std::thread::park();
        }
        self.rethrow();
    }

    fn rethrow(&self) {
        if let Some(payload) = lock(&self.panicked).take() {
            resume_unwind(payload);
        }
    }

    pub fn wants_help(&self) -> bool {
        let (first, last) = halves(self.taken.load(Ordering::Relaxed));
        let spare = || self.limit.spare.load(Ordering::Relaxed) > 0;
        self.helpers.load(Ordering::Relaxed) > 0 && first + last < self.total && spare()
    }
}
