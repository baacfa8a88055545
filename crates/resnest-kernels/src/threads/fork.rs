//! What a process has that its forks do not: threads.
//!
//! `fork` copies memory and the calling thread alone. A pool that was copied so looks as if its threads were there, and
//! whoever waits for one of them waits for ever. So what owns threads is kept for the process that made it, and made anew in
//! a fork. What was copied is left where it is: to take it apart would wait for those threads too.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Forks between this process and the one in which they were first counted.
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// How many forks lie between this process and the one that first asked: it changes only in a fork, and there always.
pub fn forks() -> usize {
    watch();
    FORKS.load(Ordering::Acquire)
}

/// Sees to it that forks are counted. Twice does no harm, and no lock is taken that a fork could copy in its locked state.
#[cfg(unix)]
fn watch() {
    use std::sync::atomic::AtomicBool;

    static WATCHED: AtomicBool = AtomicBool::new(false);
    extern "C" fn in_the_fork() {
        FORKS.fetch_add(1, Ordering::AcqRel);
    }
    if WATCHED.load(Ordering::Acquire) || cfg!(miri) {
        return;
    }
    // SAFETY: the handler is a function of this program and only adds to a number.
    unsafe { libc::pthread_atfork(None, None, Some(in_the_fork)) };
    WATCHED.store(true, Ordering::Release);
}

/// Nothing forks elsewhere.
#[cfg(not(unix))]
fn watch() {}

/// A value of the process that made it: a fork makes its own.
#[derive(Debug)]
pub struct PerProcess<T> {
    /// Null at first. What it once pointed to lives as long as this value.
    current: AtomicPtr<Made<T>>,
}

#[derive(Debug)]
struct Made<T> {
    forks: usize,
    value: T,
}

// SAFETY: it is a value behind an address, handed out by shared reference to all threads and dropped by any.
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for PerProcess<T> {}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> PerProcess<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// `value` in this process.
    pub fn with(value: T) -> Self {
        let made = Self::new();
        made.get_or_init(|| value);
        made
    }

    /// This process's value, made now if there is none. Threads that ask for it at once may each make one; all get the same,
    /// the others are dropped.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let forks = forks();
        let seen = self.current.load(Ordering::Acquire);
        // SAFETY: not null, and what was once stored here is freed by `drop` alone.
        if let Some(made) = unsafe { seen.as_ref() }
            && made.forks == forks
        {
            return &made.value;
        }
        let value = make();
        let own = Box::into_raw(Box::new(Made { forks, value }));
        let (set, failed) = (Ordering::AcqRel, Ordering::Acquire);
        let there = match self.current.compare_exchange(seen, own, set, failed) {
            Ok(_) => own,
            Err(other) => {
                // SAFETY: made above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(own) });
                other
            }
        };
        // SAFETY: one of the two that are not null; freed by `drop` alone. A thread that was faster is of this process.
        unsafe { &(*there).value }
    }
}

impl<T> Drop for PerProcess<T> {
    /// Drops this process's value; one that a fork has copied stays.
    fn drop(&mut self) {
        let made = *self.current.get_mut();
        // SAFETY: null or a box of `get_or_init`, and nobody has a reference any more.
        if let Some(there) = unsafe { made.as_ref() }
            && there.forks == forks()
        {
            // SAFETY: as above.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn many_threads_get_one_value_and_it_is_dropped() {
        let value = Arc::new(());
        let made = PerProcess::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| made.get_or_init(|| Arc::clone(&value)));
            }
        });
        assert_eq!(Arc::strong_count(&value), 2);
        assert!(Arc::ptr_eq(made.get_or_init(Arc::default), &value));
        drop(made);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
