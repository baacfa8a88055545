//! What the tasks of loops took, for who asks: from it one can work out how more threads would share them.
//!
//! Off, a loop reads one flag of its thread.

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A parallel loop that ran while its caller had loops recorded.
#[derive(Clone, Debug)]
pub struct RecordedLoop {
    /// When the caller began it.
    pub begin: Instant,
    /// From then until the last task was done.
    pub duration: Duration,
    /// So many threads are engaged where there are enough of them, the caller included.
    pub most_threads: usize,
    /// By their numbers.
    pub tasks: Vec<RecordedTask>,
}

/// One task of a [`RecordedLoop`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordedTask {
    /// When it began, counted from the loop's beginning.
    pub begin: Duration,
    /// How long it took, loops inside it included.
    pub duration: Duration,
    /// Whether another thread than the caller ran it.
    pub helped: bool,
}

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static LOOPS: RefCell<Vec<RecordedLoop>> = const { RefCell::new(Vec::new()) };
}

/// Sets the calling thread's flag; back to what it was when this is dropped, by return or by panic.
struct Set(bool);

impl Set {
    fn to(on: bool) -> Self {
        Self(ON.replace(on))
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        ON.set(self.0);
    }
}

/// Runs `f`, and gives every loop that the calling thread began meanwhile, in their order. Loops inside a task are no
/// loops of their own but part of the task. Recording a task takes some 0.1 µs.
pub fn record_loops<R>(f: impl FnOnce() -> R) -> (R, Vec<RecordedLoop>) {
    let before = LOOPS.take();
    let result = {
        let _on = Set::to(true);
        f()
    };
    (result, LOOPS.replace(before))
}

/// Whether the calling thread's loops are recorded.
pub(super) fn is_on() -> bool {
    ON.get()
}

/// A task of a loop: its number, and that of the next.
type Task<'a> = dyn Fn(usize, Option<usize>) + Sync + 'a;

/// Has `run` run the loop of `task`, with a clock around each of the `count` tasks.
pub(super) fn recorded(
    count: usize,
    most_threads: usize,
    task: &Task<'_>,
    run: impl FnOnce(&Task<'_>),
) {
    let slots: Vec<OnceLock<RecordedTask>> = (0..count).map(|_| OnceLock::new()).collect();
    let caller = std::thread::current().id();
    let begin = Instant::now();
    {
        let _off = Set::to(false);
        run(&|index, next| {
            let start = Instant::now();
            task(index, next);
            let end = Instant::now();
            // A number comes once: the slot is empty.
            let _ = slots[index].set(RecordedTask {
                begin: start - begin,
                duration: end - start,
                helped: std::thread::current().id() != caller,
            });
        });
    }
    let duration = begin.elapsed();
    let tasks = slots
        .into_iter()
        .map(|s| s.into_inner().unwrap_or_default());
    let tasks = tasks.collect();
    LOOPS.with_borrow_mut(|loops| {
        loops.push(RecordedLoop {
            begin,
            duration,
            most_threads,
            tasks,
        });
    });
}
