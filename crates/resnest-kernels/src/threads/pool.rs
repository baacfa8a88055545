//! A pool of helpers for parallel loops.
//!
//! The calling thread always works on its own loop, so no caller can starve; helpers join
//! whichever loop still has tasks. A loop ends when its tasks are finished, not when its helpers
//! have reported: a helper that the system has suspended between tasks delays nobody. Idle
//! helpers look for work for some microseconds (the next layer follows at once), then sleep.
//!
//! A limit of threads goes with the work: loops inside a task count as their caller's, whichever thread
//! runs them. Helpers are started when a loop first asks for them, no more than there are CPUs; where
//! the system starts none, those there are do the work, in the end the caller alone.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Polls before an idle helper goes to sleep: some 100 µs (under Miri a few, for each is slow).
///
/// A caller is seldom longer between two loops or at the end of one; to wake a helper took the
/// caller some 8 µs and the helper 20.
const IDLE_POLLS: usize = if cfg!(miri) { 10 } else { 4000 };
/// Polls before a caller that waits for its last tasks goes to sleep.
const WAIT_POLLS: usize = if cfg!(miri) { 10 } else { 4000 };
/// Most helpers of tests that want more of them than there are CPUs.
const MOST_IN_TESTS: usize = 15;
/// After a thread could not be started, so long no other is tried: limits do not change from one layer
/// to the next.
const RETRY: Duration = Duration::from_secs(1);

/// How many threads the loops of a caller may use together, those inside their tasks included.
#[derive(Clone)]
struct Limit {
    threads: usize,
    /// Helpers that may still join any of those loops.
    spare: Arc<AtomicUsize>,
}

impl Limit {
    fn new(threads: usize) -> Self {
        Limit {
            threads,
            spare: Arc::new(AtomicUsize::new(threads.saturating_sub(1))),
        }
    }

    /// One of the spare helpers, if there is one.
    fn take(&self) -> bool {
        let less = |spare: usize| spare.checked_sub(1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.spare.fetch_update(set, fetch, less).is_ok()
    }

    fn give_back(&self) {
        self.spare.fetch_add(1, Ordering::AcqRel);
    }
}

thread_local! {
    /// That of the calling thread; while a helper works, that of the loop's caller.
    static LIMIT: RefCell<Option<Limit>> = const { RefCell::new(None) };
}

/// Runs `f` under a limit of its own, which ends with `f`, by return or by panic.
fn with_limit<R>(limit: Option<Limit>, f: impl FnOnce() -> R) -> R {
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
fn limit() -> Limit {
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

/// Lets loops of this process have more helpers than there are CPUs (15 at most): for tests that look for
/// races on machines of few CPUs.
#[doc(hidden)]
pub fn oversubscribe() {
    pool().most.fetch_max(MOST_IN_TESTS, Ordering::Relaxed);
}

/// Multiply-adds worth a helper: a microsecond or two, about what it takes to engage one.
///
/// Miri runs only small cases, and is there to see them on several threads.
const WORK_PER_THREAD: usize = if cfg!(miri) { 1 } else { 100_000 };

/// Calls `task(0)` to `task(tasks - 1)`, each once, on up to [`current_threads`] threads; fewer
/// where all tasks together come to little `work` (in multiply-adds, or values read).
///
/// The caller takes tasks from the first on, the first helper from the last on, and so by turns: in
/// one layer after another a thread meets the same part of the image, which its cache still holds.
///
/// A panic in a task is raised here after the others have ended.
pub(crate) fn parallel_for(tasks: usize, work: usize, task: &(dyn Fn(usize) + Sync)) {
    parallel_for_in_turn(tasks, work, &|index, _| task(index));
}

/// The same, and each task is also told which one its thread will take next, if it is still there
/// then: what that reads can be fetched.
pub(crate) fn parallel_for_in_turn(
    tasks: usize,
    work: usize,
    task: &(dyn Fn(usize, Option<usize>) + Sync),
) {
    let paying = (work / WORK_PER_THREAD).saturating_add(1);
    let wanted = current_threads().min(tasks).min(paying);
    let helpers = match wanted {
        0 | 1 => 0,
        _ => pool().grow(wanted - 1),
    };
    if helpers == 0 {
        return (0..tasks).for_each(|index| task(index, Some(index + 1).filter(|&i| i < tasks)));
    }
    assert!(
        tasks < 1 << 31,
        "{tasks} tasks do not fit a half of Job::taken"
    );
    // SAFETY: only the lifetime changes. `Job::work` calls the task only for an index below
    // `total`, and `finish` returns only after all of those calls have returned; so no call
    // outlives this function's borrow.
    let task: &'static (dyn Fn(usize, Option<usize>) + Sync) = unsafe { std::mem::transmute(task) };
    let job = Arc::new(Job {
        task,
        total: tasks,
        taken: AtomicU64::new(0),
        done: AtomicUsize::new(0),
        helpers: AtomicUsize::new(helpers),
        limit: limit(),
        panicked: Mutex::new(None),
        waiting: AtomicBool::new(false),
        owner: std::thread::current(),
    });
    pool().publish(&job);
    job.work(End::First);
    pool().retract(&job);
    job.finish();
}

/// What `task` gives for 0 to `tasks - 1`, in that order, made on up to [`current_threads`] threads.
///
/// A panic in a task is raised here after the others have ended.
pub fn parallel_map<T: Send>(tasks: usize, task: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let made: Vec<Mutex<Option<T>>> = (0..tasks).map(|_| Mutex::default()).collect();
    parallel_for(tasks, usize::MAX, &|index| {
        let value = task(index);
        *lock(&made[index]) = Some(value);
    });
    let made = made.into_iter();
    made.filter_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

/// One parallel loop.
struct Job {
    task: &'static (dyn Fn(usize, Option<usize>) + Sync),
    total: usize,
    /// Tasks taken from the first on in the lower half, from the last on in the upper half.
    taken: AtomicU64,
    done: AtomicUsize,
    /// Helpers that may still join, and what else limits them.
    helpers: AtomicUsize,
    limit: Limit,
    panicked: Mutex<Option<Box<dyn std::any::Any + Send>>>,
    waiting: AtomicBool,
    owner: Thread,
}

/// Where a thread takes its tasks from.
#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

/// The lower and the upper half.
fn halves(taken: u64) -> (usize, usize) {
    (taken as u32 as usize, (taken >> 32) as usize)
}

impl Job {
    /// Takes tasks until none is left.
    fn work(&self, end: End) {
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
    fn finish(&self) {
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

    fn wants_help(&self) -> bool {
        let (first, last) = halves(self.taken.load(Ordering::Relaxed));
        let spare = || self.limit.spare.load(Ordering::Relaxed) > 0;
        self.helpers.load(Ordering::Relaxed) > 0 && first + last < self.total && spare()
    }
}

/// The helpers of this process, started as they are first asked for.
struct Pool {
    state: Mutex<State>,
    wake: Condvar,
    /// Counts published jobs, so that an idle helper can poll without the lock.
    published: AtomicUsize,
    /// Most helpers: with the caller as many as there are CPUs.
    most: AtomicUsize,
    /// Starts a thread; another one in tests.
    spawn: Spawn,
}

/// Starts the helper of this number.
type Spawn = fn(&'static Pool, usize) -> std::io::Result<()>;

#[derive(Default)]
struct State {
    jobs: Vec<Arc<Job>>,
    started: usize,
    sleeping: usize,
    /// When the system last refused to start a thread.
    refused: Option<Instant>,
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
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

/// Nothing in this module panics while it holds a lock: a poisoned one is still sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    fn new(most: usize, spawn: Spawn) -> Self {
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
    fn grow(&'static self, wanted: usize) -> usize {
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

    fn publish(&self, job: &Arc<Job>) {
        let mut state = lock(&self.state);
        state.jobs.push(Arc::clone(job));
        self.published.fetch_add(1, Ordering::Release);
        let wake = state.sleeping.min(job.helpers.load(Ordering::Relaxed));
        drop(state);
        for _ in 0..wake {
            self.wake.notify_one();
        }
    }

    fn retract(&self, job: &Arc<Job>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::thread::ThreadId;

    #[test]
    fn every_task_runs_once() {
        oversubscribe();
        for threads in [1, 2, 5] {
            let counts: Vec<AtomicUsize> = (0..97).map(|_| AtomicUsize::new(0)).collect();
            with_threads(threads, || {
                parallel_for(97, usize::MAX, &|i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn a_map_keeps_its_order() {
        for threads in [1, 2, 5] {
            let squares = with_threads(threads, || parallel_map(97, |i| i * i));
            assert!(squares.into_iter().eq((0..97).map(|i| i * i)));
        }
        assert!(parallel_map(0, |i| i).is_empty());
    }

    #[test]
    fn callers_at_once_and_nested_loops_finish() {
        oversubscribe();
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    with_threads(3, || {
                        for _ in 0..50 {
                            parallel_for(7, usize::MAX, &|_| {
                                parallel_for(3, usize::MAX, &|_| {
                                    total.fetch_add(1, Ordering::Relaxed);
                                });
                            });
                        }
                    });
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 50 * 7 * 3);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let caught = std::panic::catch_unwind(|| {
            with_threads(2, || {
                parallel_for(8, usize::MAX, &|i| assert!(i != 5, "five"))
            });
        });
        assert!(caught.is_err());
        let count = AtomicUsize::new(0);
        with_threads(2, || {
            parallel_for(8, usize::MAX, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(count.into_inner(), 8);
    }

    /// Tasks that panic on helpers and on their callers, while other callers count theirs.
    #[test]
    fn panics_of_some_callers_cost_the_others_nothing() {
        oversubscribe();
        let rounds = if cfg!(miri) { 3 } else { 200 };
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for caller in 0..4 {
                let total = &total;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let task = |i: usize| {
                            // Quietly: a panic's message goes to standard error.
                            if caller % 2 == 1 && i == round % 9 {
                                resume_unwind(Box::new("cancelled"));
                            }
                            total.fetch_add(1, Ordering::Relaxed);
                        };
                        let run = || with_threads(3, || parallel_for(9, usize::MAX, &task));
                        let caught = catch_unwind(AssertUnwindSafe(run));
                        assert_eq!(caught.is_err(), caller % 2 == 1);
                    }
                });
            }
        });
        // The tasks beside one that panics still run.
        assert_eq!(total.into_inner(), 2 * rounds * 9 + 2 * rounds * 8);
    }

    #[test]
    fn the_thread_count_is_scoped() {
        let before = current_threads();
        with_threads(3, || assert_eq!(current_threads(), 3));
        assert_eq!(current_threads(), before);
    }

    /// Counts those who are inside at once.
    #[derive(Default)]
    struct Crowd {
        inside: AtomicUsize,
        most: AtomicUsize,
        threads: Mutex<HashSet<ThreadId>>,
    }

    impl Crowd {
        fn visit(&self) {
            let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(inside, Ordering::SeqCst);
            lock(&self.threads).insert(std::thread::current().id());
            std::thread::sleep(Duration::from_micros(200));
            self.inside.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_task_has_its_callers_limit_on_whichever_thread() {
        oversubscribe();
        // Helpers for all that a loop without a limit of its own could take.
        with_threads(8, || {
            parallel_for(64, usize::MAX, &|_| Crowd::default().visit())
        });
        for threads in [1, 2, 3] {
            let (outer, inner) = (Crowd::default(), Crowd::default());
            with_threads(threads, || {
                parallel_for(12, usize::MAX, &|_| {
                    assert_eq!(current_threads(), threads);
                    lock(&outer.threads).insert(std::thread::current().id());
                    parallel_for(6, usize::MAX, &|_| {
                        assert_eq!(current_threads(), threads);
                        inner.visit();
                    });
                });
            });
            let most = inner.most.into_inner();
            assert!(most <= threads, "{most} of {threads}");
            let met = lock(&outer.threads).len();
            assert!(threads == 1 || met > 1 || cfg!(miri), "no helper came");
        }
        assert_eq!(
            with_threads(3, || parallel_map(9, |_| current_threads())),
            [3; 9]
        );
    }

    /// What a thread that ends early leaves is worked on by loops that were there before.
    #[test]
    fn a_limit_is_whole_again_after_each_loop() {
        oversubscribe();
        with_threads(3, || {
            for _ in 0..20 {
                parallel_for(9, usize::MAX, &|_| {
                    parallel_for(3, usize::MAX, &|_| std::hint::spin_loop());
                });
            }
            let spare = || limit().spare.load(Ordering::SeqCst);
            let whole = (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(1));
                spare() == 2
            });
            assert!(whole, "{} of 2 helpers", spare());
        });
    }

    #[test]
    fn a_system_that_starts_no_more_threads_is_asked_again_later() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let two = |_: &'static Pool, index: usize| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            match index {
                0 | 1 => Ok(()),
                _ => Err(std::io::Error::from(std::io::ErrorKind::WouldBlock)),
            }
        };
        let pool: &'static Pool = Box::leak(Box::new(Pool::new(5, two)));
        assert_eq!(pool.grow(1), 1);
        assert_eq!(pool.grow(100), 2);
        assert_eq!(ASKED.load(Ordering::SeqCst), 3);
        for _ in 0..10 {
            assert_eq!(pool.grow(4), 2);
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), 3);
        lock(&pool.state).refused = Instant::now().checked_sub(2 * RETRY);
        assert_eq!(pool.grow(4), 2);
        assert_eq!(ASKED.load(Ordering::SeqCst), 4);
    }
}
