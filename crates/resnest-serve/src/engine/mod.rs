//! Images in, answers out: threads that decode, one that computes, and the queues between them.
//!
//! The network of each batch runs on all CPUs that the server may use, so one thread that computes batch after batch keeps
//! them busy; models take turns on it. Decoding has threads of its own.

mod compute;
mod decode;
#[cfg(test)]
pub(crate) mod faults;
mod job;
mod pulse;
mod queue;

use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use resnest::Error;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

pub use job::{Answer, Done, Explanation, Input, Times, Wants};

use crate::models::Model;
use crate::{Failure, Outcome};
use job::{Ready, Ticket, Waiting};
use pulse::Pulse;
use queue::Queues;

/// The threads that do the work, until it is dropped.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    work: Mutex<Work>,
    to_decode: Condvar,
    to_compute: Condvar,
    pulse: Pulse,
    #[cfg(test)]
    faults: faults::Faults,
}

#[derive(Debug)]
struct Work {
    queues: Queues<Waiting, Ready>,
    /// Whether the engine is gone and threads should end.
    over: bool,
    /// When an image last came a step further, or the first one came.
    moved: Instant,
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Starts so many threads that decode, and the one that computes.
    ///
    /// # Errors
    /// [`Error::Threads`] if the system has no more.
    pub fn start(decoders: usize) -> Result<Self, Error> {
        let work = Work {
            queues: Queues::new(),
            over: false,
            moved: Instant::now(),
        };
        let engine = Self {
            shared: Arc::new(Shared {
                work: Mutex::new(work),
                to_decode: Condvar::new(),
                to_compute: Condvar::new(),
                pulse: Pulse::new(),
                #[cfg(test)]
                faults: faults::Faults::default(),
            }),
        };
        engine.spawn("resnest-compute", compute::run)?;
        for _ in 0..decoders.max(1) {
            engine.spawn("resnest-decode", decode::run)?;
        }
        Ok(engine)
    }

    fn spawn(&self, name: &str, work: fn(&Shared)) -> Result<(), Error> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let failed = |source| Error::Threads {
            threads: 1,
            source: Box::new(source),
        };
        thread
            .spawn(move || work(&shared))
            .map(drop)
            .map_err(failed)
    }

    /// One image for a model, with its place among those that may be here at once. If what is returned is dropped, the
    /// image is too, wherever it waits.
    pub fn submit(
        &self,
        model: &Arc<Model>,
        input: Input,
        wants: Wants,
        place: Option<Arc<OwnedSemaphorePermit>>,
    ) -> Pending {
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket {
            model: model.clone(),
            wants,
            reply: Some(reply),
            since: Instant::now(),
            times: Times::default(),
            place,
        };
        let entry = Waiting { ticket, input };
        let mut work = self.shared.work();
        if work.queues.idle() {
            work.moved = Instant::now();
        }
        work.queues.push(model.id, model.max_batch, entry);
        drop(work);
        self.shared.to_decode.notify_one();
        Pending {
            answer,
            shared: self.shared.clone(),
        }
    }

    /// Images of this model that wait.
    pub fn depth(&self, model: u64) -> usize {
        self.shared.work().queues.depth(model)
    }

    /// Forgets models that are not among these, once their last images are answered.
    pub fn retire(&self, live: &[u64]) {
        self.shared.work().queues.retire(live);
    }

    /// Why the engine is not to be trusted, if it is not: its last batch failed, one takes longer than `patience`, or images
    /// are here and for so long none came any further, whatever the reason.
    pub fn trouble(&self, patience: Duration) -> Option<String> {
        let work = self.shared.work();
        let since = (!work.queues.idle()).then(|| work.moved.elapsed());
        drop(work);
        let stuck = since.filter(|since| *since > patience);
        let stuck = stuck
            .map(|since| format!("no image came any further for {:.0} s", since.as_secs_f64()));
        self.shared.pulse.trouble(patience).or(stuck)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.work().over = true;
        self.shared.to_decode.notify_all();
        self.shared.to_compute.notify_all();
    }
}

/// What becomes of an image, in time.
#[derive(Debug)]
pub struct Pending {
    answer: oneshot::Receiver<Done>,
    shared: Arc<Shared>,
}

impl Future for Pending {
    type Output = Outcome<Done>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let lost = |_| Failure::internal("the image was lost on its way: please report this");
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map(|answer| answer.map_err(lost))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.answer.is_terminated() {
            return;
        }
        // Its client has left: its place is free for others at once, not when its turn would have come.
        self.answer.close();
        self.shared.work().queues.sweep();
        self.shared.to_decode.notify_one();
    }
}
