//! The pool: every task once, limits kept, panics contained.

#[cfg(all(unix, not(miri)))]
use super::fork::forks;
use super::job::lock;
use super::limit::{current_threads, limit, with_threads};
use super::parallel::{parallel_for, parallel_map};
use super::pool::{Pool, RETRY, oversubscribe};
use super::record::record_loops;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

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

#[test]
fn recorded_loops_are_the_callers_with_each_of_their_tasks() {
    oversubscribe();
    let pause = Duration::from_millis(1);
    for threads in [1, 2, 5] {
        let (answer, loops) = with_threads(threads, || {
            record_loops(|| {
                parallel_for(9, usize::MAX, &|_| std::thread::sleep(pause));
                // Another thread's loops are not the caller's, nor those inside a task.
                std::thread::scope(|scope| {
                    scope.spawn(|| parallel_for(3, usize::MAX, &|_| ()));
                });
                parallel_for(4, 0, &|_| parallel_for(2, usize::MAX, &|_| ()));
                7
            })
        });
        assert_eq!(answer, 7);
        let counts: Vec<_> = loops.iter().map(|l| l.tasks.len()).collect();
        assert_eq!(counts, [9, 4]);
        assert_eq!([loops[0].most_threads, loops[1].most_threads], [9, 1]);
        assert!(loops[0].begin + loops[0].duration <= loops[1].begin);
        assert!(loops[0].tasks.iter().all(|task| task.duration >= pause));
        let ends = loops[0].tasks.iter().map(|task| task.begin + task.duration);
        assert!(ends.max().unwrap() <= loops[0].duration);
        assert!(threads > 1 || !loops[0].tasks.iter().any(|task| task.helped));
        assert!(!loops[1].tasks.iter().any(|task| task.helped));
        assert!(loops[0].tasks.iter().all(|task| task.inner.is_empty()));
        for task in &loops[1].tasks {
            assert_eq!(task.inner.len(), 1);
            assert_eq!(task.inner[0].tasks.len(), 2);
        }
    }
}

#[test]
fn recording_ends_with_its_function_by_panic_too() {
    let panics = || record_loops(|| parallel_for(2, 0, &|_| panic!("on purpose")));
    let caught = catch_unwind(AssertUnwindSafe(panics));
    assert!(caught.is_err());
    parallel_for(2, 0, &|_| ());
    let ((), loops) = record_loops(|| parallel_for(3, 0, &|_| ()));
    assert_eq!(loops.len(), 1);
    assert_eq!(loops[0].tasks.len(), 3);
}

/// Loops in a fork of a process whose helpers are at work: the child ends in time with the right sum.
#[cfg(all(unix, not(miri)))]
#[allow(unsafe_code, reason = "the system's fork, wait and kill")]
#[test]
fn a_fork_has_helpers_of_its_own() {
    oversubscribe();
    let sum = || with_threads(4, || parallel_map(100, |i| i).into_iter().sum::<usize>());
    assert_eq!(sum(), 4950);
    // SAFETY: the child calls the kernels and `_exit` only.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let right = forks() > 0 && (0..100).all(|_| sum() == 4950);
        // SAFETY: ends the process without running anything of the test harness.
        unsafe { libc::_exit(if right { 7 } else { 1 }) };
    }
    assert!(child > 0);
    let mut status = 0;
    for _ in 0..3000 {
        // SAFETY: the child is ours, and `status` a number.
        if unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == child {
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7);
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // SAFETY: the child is ours.
    unsafe { libc::kill(child, libc::SIGKILL) };
    panic!("the fork hangs");
}
