//! Work beside the consumer of its results, which come in order, never more than a window of them in memory.
//!
//! A ticket for each input goes into a queue of bounded length, the input to the workers. A worker does its work and
//! answers on the ticket. Whoever takes tickets sees the results in order; while nobody takes any, the queue is full and
//! the workers sleep. So one huge image holds up at most a window, and what is slower, the workers or the consumer, is
//! never kept waiting by the other.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope};

use crate::Error;

type Ticket<T> = Receiver<T>;
type Job<I, T> = (I, Sender<T>);

/// Results, in order.
pub(super) struct Images<T>(Receiver<Ticket<T>>);

impl<T> Images<T> {
    /// The next result; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Panicked`] if its worker has ended without one.
    pub(super) fn next(&self) -> Result<Option<T>, Error> {
        let Ok(ticket) = self.0.recv() else {
            return Ok(None);
        };
        let lost = |_| Error::Panicked {
            detail: "a worker ended without an answer".into(),
        };
        ticket.recv().map(Some).map_err(lost)
    }
}

/// Does `work` on each input with so many workers, at most `window` ahead of `consume`, which may stop before the last.
///
/// # Errors
/// [`Error::Threads`] if not even one worker can be started.
pub(super) fn run<I: Send, T: Send, R>(
    inputs: impl Iterator<Item = I> + Send,
    work: impl Fn(I) -> T + Sync,
    (workers, window): (usize, usize),
    consume: impl FnOnce(&Images<T>) -> R,
) -> Result<R, Error> {
    let (tickets, results) = sync_channel(window);
    let (jobs, todo) = channel();
    let (todo, work) = (&Mutex::new(todo), &work);
    std::thread::scope(|scope| {
        // Where none can be started, the queues are dropped with this closure, and the dealer ends.
        let threads = workers.max(1);
        start(scope, threads, move || deal(inputs, &tickets, &jobs))?;
        start(scope, threads, || serve(work, todo))?;
        // Fewer than were asked for do the same work.
        let more = (1..threads).map(|_| start(scope, threads, || serve(work, todo)));
        more.take_while(Result::is_ok).for_each(drop);
        let results = Images(results);
        Ok(consume(&results))
    })
}

fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    threads: usize,
    work: impl FnOnce() + Send + 'scope,
) -> Result<(), Error> {
    let started = Builder::new().spawn_scoped(scope, work);
    started.map(drop).map_err(|source| Error::Threads {
        threads,
        source: Box::new(source),
    })
}

/// Hands out tickets and jobs until nobody takes them.
fn deal<I, T>(
    inputs: impl Iterator<Item = I>,
    tickets: &SyncSender<Ticket<T>>,
    jobs: &Sender<Job<I, T>>,
) {
    for input in inputs {
        let (answer, ticket) = channel();
        if tickets.send(ticket).is_err() || jobs.send((input, answer)).is_err() {
            return;
        }
    }
}

fn serve<I, T>(work: &impl Fn(I) -> T, todo: &Mutex<Receiver<Job<I, T>>>) {
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((input, answer)) = job else {
            return;
        };
        // Nobody waits for it where the consumer has stopped.
        let _ = answer.send(work(input));
    }
}
