//! Parallel loops.

use super::job::{End, Job, lock};
use super::limit::{current_threads, limit};
use super::pool::pool;
use super::record;
use crate::tuning::WORK_PER_THREAD;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};

/// Calls `task(0)` to `task(tasks - 1)`, each once, on up to [`current_threads`] threads; fewer
/// where all tasks together come to little `work` (in multiply-adds, or values read).
///
/// The caller takes tasks from the first on, the first helper from the last on, the second from the first on, and so
/// forth: in one layer after another a thread reads the same part of the image, which its cache still holds.
///
/// A panic in a task is raised here after the others have ended.
pub(crate) fn parallel_for(tasks: usize, work: usize, task: &(dyn Fn(usize) + Sync)) {
    parallel_for_with_next(tasks, work, &|index, _| task(index));
}

/// The same; each task also gets the number of the one that its thread will take next, if no other thread has taken
/// it by then, so that it can fetch what that one reads.
pub(crate) fn parallel_for_with_next(
    tasks: usize,
    work: usize,
    task: &(dyn Fn(usize, Option<usize>) + Sync),
) {
    let paying = (work / WORK_PER_THREAD).saturating_add(1);
    let most = paying.min(tasks);
    if record::is_on() {
        return record::recorded(tasks, most, task, |task| run(tasks, most, task));
    }
    run(tasks, most, task);
}

/// The loop itself, on `most` threads or fewer.
fn run(tasks: usize, most: usize, task: &(dyn Fn(usize, Option<usize>) + Sync)) {
    let wanted = current_threads().min(most);
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
    #[expect(
        unsafe_code,
        reason = "helpers outlive the borrow in the eyes of the compiler; the loop ends before it does"
    )]
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
    map_tasks(tasks, usize::MAX, task)
}

/// The same of tasks that together come to so much `work`, as [`parallel_for`] counts it.
pub(crate) fn map_tasks<T: Send>(
    tasks: usize,
    work: usize,
    task: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let made: Vec<Mutex<Option<T>>> = (0..tasks).map(|_| Mutex::default()).collect();
    parallel_for(tasks, work, &|index| {
        let value = task(index);
        *lock(&made[index]) = Some(value);
    });
    let made = made.into_iter();
    made.filter_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}
