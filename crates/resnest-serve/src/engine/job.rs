//! One image on its way: what came, what is wanted of it, and what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use resnest::explain::{ActivationMap, BlockSplits};
use resnest::image::Window;
use resnest::{Image, Output, Pixels, Prediction};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::queue::Entry;
use crate::Outcome;
use crate::models::Model;

/// An image as it came.
#[derive(Debug, Clone)]
pub enum Input {
    /// A file's bytes.
    Encoded(Bytes),
    /// Decoded pixels, to be resized and cropped.
    Pixels(Image),
    /// Normalised values (C, H, W) of the model's input size.
    Tensor(Vec<f32>),
}

/// What is wanted of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Numbers: it shares a batch with others.
    Outputs {
        /// The classifier's output.
        logits: bool,
        /// What the classifier sees.
        embeddings: bool,
    },
    /// The best classes with their maps, and how each block weighed its splits: computed alone.
    Explanation {
        /// How many classes.
        k: usize,
        /// Whether each class has its map.
        maps: bool,
        /// Whether the splits' weights are wanted.
        splits: bool,
    },
}

/// What became of an image.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Numbers.
    Output(Output),
    /// Why it is what it is.
    Explanation(Box<Explanation>),
}

/// The best classes of an image, and why.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The best classes, best first.
    pub predictions: Vec<Prediction>,
    /// A map for each of them, if maps were asked for.
    pub maps: Vec<ActivationMap>,
    /// How each block weighed its splits, if that was asked for.
    pub splits: Vec<BlockSplits>,
    /// Width and height of the decoded image, and the part of it that the model was shown.
    pub photo: Option<(u32, u32, Window)>,
}

/// How long one image took, and beside how many others it was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Decoding, resizing, cropping, normalising.
    pub decode: Duration,
    /// Waiting, in whichever queue.
    pub queue: Duration,
    /// The network, for the whole batch.
    pub inference: Duration,
    /// Images in the batch.
    pub batch: usize,
}

impl Times {
    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            decode: self.decode.max(other.decode),
            queue: self.queue.max(other.queue),
            inference: self.inference.max(other.inference),
            batch: self.batch.max(other.batch),
        }
    }
}

/// What the client of one image gets.
#[derive(Debug)]
pub struct Done {
    /// The answer.
    pub answer: Outcome<Answer>,
    /// What it took.
    pub times: Times,
}

/// What an image keeps from door to door.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) model: Arc<Model>,
    pub(super) wants: Wants,
    /// Taken when it is answered.
    pub(super) reply: Option<oneshot::Sender<Done>>,
    pub(super) since: Instant,
    pub(super) times: Times,
    /// Its place among those that may be here at once; given back before it is answered, or when it is dropped.
    pub(super) place: Option<Arc<OwnedSemaphorePermit>>,
}

impl Ticket {
    /// Sends what became of it; nobody may be waiting any more.
    pub(super) fn answer(mut self, answer: Outcome<Answer>) {
        let spent = self.times.decode + self.times.inference;
        self.times.queue = self.since.elapsed().saturating_sub(spent);
        let metrics = &self.model.metrics;
        metrics.image(&answer, &self.times);
        let times = self.times;
        // First: its client's next request may be quicker than this thread.
        self.place = None;
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Done { answer, times });
        }
    }

    fn abandoned(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.reply.is_some() {
            self.model.metrics.cancelled();
        }
    }
}

/// An image that waits for a thread to decode it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) ticket: Ticket,
    pub(super) input: Input,
}

/// An image that waits for the network.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) ticket: Ticket,
    pub(super) pixels: Pixels,
    pub(super) photo: Option<(u32, u32, Window)>,
}

impl Entry for Waiting {
    fn abandoned(&self) -> bool {
        self.ticket.abandoned()
    }
}

impl Entry for Ready {
    fn abandoned(&self) -> bool {
        self.ticket.abandoned()
    }
}
