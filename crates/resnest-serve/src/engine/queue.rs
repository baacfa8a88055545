//! What waits for each model: encoded images for a thread that decodes them, decoded ones for the network. No threads and
//! no clocks in here, so that its rules can be tested as they stand.
//!
//! - Images are decoded at most two batches ahead of the network, so that memory does not grow with what waits.
//! - A batch is formed when the network is free, of what is ready then: an idle server adds no delay, and the more waits the
//!   larger batches are. Nothing is tuned. One formed earlier, while another computes, would be smaller than it could be and
//!   would hold images whose clients have left by the time it runs.
//! - Of several models with something to do, the one is next that has had the least time. One that was idle has no claim
//!   on the time it did not use.

use std::collections::VecDeque;
use std::time::Duration;

/// An entry that nobody may be waiting for any more.
pub(super) trait Entry {
    /// Whether its client has left.
    fn abandoned(&self) -> bool;
}

/// The queues of all models. `W` waits to be decoded, `R` is ready for the network.
#[derive(Debug)]
pub(super) struct Queues<W, R> {
    lines: Vec<Line<W, R>>,
}

/// One model's.
#[derive(Debug)]
struct Line<W, R> {
    model: u64,
    /// Images computed at once.
    batch: usize,
    /// The network's time it has had.
    used: Duration,
    waiting: VecDeque<W>,
    decoding: usize,
    ready: VecDeque<R>,
    /// Whether a batch of it is being computed.
    computing: bool,
}

impl<W, R> Line<W, R> {
    fn idle(&self) -> bool {
        self.waiting.is_empty() && self.decoding == 0 && self.ready.is_empty() && !self.computing
    }

    fn may_decode(&self) -> bool {
        !self.waiting.is_empty() && self.decoding + self.ready.len() < 2 * self.batch
    }
}

impl<W: Entry, R: Entry> Queues<W, R> {
    pub(super) fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// One more image for this model, of which so many are computed at once.
    pub(super) fn push(&mut self, model: u64, batch: usize, entry: W) {
        let active = self.lines.iter().filter(|line| !line.idle());
        let floor = active.map(|line| line.used).min().unwrap_or_default();
        let line = self.line(model, batch);
        if line.idle() {
            line.used = line.used.max(floor);
        }
        line.waiting.push_back(entry);
    }

    /// The image to decode next, of which model; abandoned ones are dropped on the way.
    pub(super) fn take_waiting(&mut self) -> Option<(u64, W)> {
        loop {
            let lines = self.lines.iter_mut().filter(|line| line.may_decode());
            let line = lines.min_by_key(|line| line.used)?;
            let entry = line.waiting.pop_front()?;
            if !entry.abandoned() {
                line.decoding += 1;
                return Some((line.model, entry));
            }
        }
    }

    /// An image that [`take_waiting`](Self::take_waiting) gave is ready, or nothing became of it.
    pub(super) fn decoded(&mut self, model: u64, entry: Option<R>) {
        let line = self.line(model, 1);
        line.decoding = line.decoding.saturating_sub(1);
        line.ready.extend(entry);
    }

    /// The next batch, of which model: never empty. [`computed`](Self::computed) must follow.
    pub(super) fn take_batch(&mut self) -> Option<(u64, Vec<R>)> {
        loop {
            let lines = self.lines.iter_mut().filter(|line| !line.ready.is_empty());
            let line = lines.min_by_key(|line| line.used)?;
            let mut batch = Vec::new();
            while batch.len() < line.batch {
                match line.ready.pop_front() {
                    Some(entry) if entry.abandoned() => {}
                    Some(entry) => batch.push(entry),
                    None => break,
                }
            }
            if !batch.is_empty() {
                line.computing = true;
                return Some((line.model, batch));
            }
        }
    }

    /// The model's batch took so long.
    pub(super) fn computed(&mut self, model: u64, took: Duration) {
        let line = self.line(model, 1);
        line.used += took;
        line.computing = false;
    }

    /// Whether nothing is here.
    pub(super) fn idle(&self) -> bool {
        self.lines.iter().all(Line::idle)
    }

    /// Drops what is abandoned, wherever it waits.
    pub(super) fn sweep(&mut self) {
        for line in &mut self.lines {
            line.waiting.retain(|entry| !entry.abandoned());
            line.ready.retain(|entry| !entry.abandoned());
        }
    }

    /// Forgets a model that will get no more images, once nothing of it is left.
    pub(super) fn retire(&mut self, live: &[u64]) {
        self.lines
            .retain(|line| !line.idle() || live.contains(&line.model));
    }

    /// Images of this model that wait, in either queue.
    pub(super) fn depth(&self, model: u64) -> usize {
        let line = self.lines.iter().find(|line| line.model == model);
        line.map_or(0, |line| {
            line.waiting.len() + line.decoding + line.ready.len()
        })
    }

    fn line(&mut self, model: u64, batch: usize) -> &mut Line<W, R> {
        let found = self.lines.iter().position(|line| line.model == model);
        let at = found.unwrap_or_else(|| {
            self.lines.push(Line {
                model,
                batch,
                used: Duration::ZERO,
                waiting: VecDeque::new(),
                decoding: 0,
                ready: VecDeque::new(),
                computing: false,
            });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its number, and whether its client has left.
    #[derive(Debug, PartialEq)]
    struct Image(usize, bool);

    impl Entry for Image {
        fn abandoned(&self) -> bool {
            self.1
        }
    }

    fn queues() -> Queues<Image, Image> {
        Queues::new()
    }

    /// Decodes all that may be decoded now.
    fn decode(queues: &mut Queues<Image, Image>) -> usize {
        let mut count = 0;
        while let Some((model, image)) = queues.take_waiting() {
            queues.decoded(model, Some(image));
            count += 1;
        }
        count
    }

    fn numbers(batch: Option<(u64, Vec<Image>)>) -> Vec<usize> {
        let images = batch.map(|(_, images)| images).unwrap_or_default();
        images.iter().map(|image| image.0).collect()
    }

    #[test]
    fn batches_are_what_is_ready_and_grow_with_it() {
        let mut queues = queues();
        queues.push(1, 4, Image(0, false));
        decode(&mut queues);
        assert_eq!(numbers(queues.take_batch()), [0]);
        (1..8).for_each(|n| queues.push(1, 4, Image(n, false)));
        decode(&mut queues);
        queues.computed(1, Duration::from_secs(1));
        assert_eq!(numbers(queues.take_batch()), [1, 2, 3, 4]);
        assert_eq!(numbers(queues.take_batch()), [5, 6, 7]);
        assert!(queues.take_batch().is_none());
    }

    #[test]
    fn decoding_stays_two_batches_ahead() {
        let mut queues = queues();
        (0..100).for_each(|n| queues.push(1, 4, Image(n, false)));
        assert_eq!(decode(&mut queues), 8);
        assert_eq!(queues.depth(1), 100);
        queues.take_batch();
        assert_eq!(decode(&mut queues), 4);
        // One that could not be decoded makes room too.
        queues.take_batch();
        let (model, _) = queues.take_waiting().unwrap();
        queues.decoded(model, None);
        assert_eq!(decode(&mut queues), 4);
    }

    #[test]
    fn the_abandoned_are_dropped_before_they_cost_anything() {
        let mut queues = queues();
        (0..6).for_each(|n| queues.push(1, 8, Image(n, n % 2 == 0)));
        assert_eq!(decode(&mut queues), 3);
        queues.decoded(1, Some(Image(6, true)));
        assert_eq!(numbers(queues.take_batch()), [1, 3, 5]);
        queues.decoded(1, Some(Image(7, true)));
        assert!(queues.take_batch().is_none(), "no empty batch");
        queues.push(1, 8, Image(8, true));
        queues.sweep();
        assert_eq!(queues.depth(1), 0);
    }

    #[test]
    fn models_share_the_network_s_time_and_save_none_up() {
        let mut queues = queues();
        // The first has been alone for an hour.
        queues.push(1, 1, Image(0, false));
        decode(&mut queues);
        queues.take_batch();
        queues.computed(1, Duration::from_secs(3600));
        let mut time = [0u64; 3];
        let mut in_a_row = (0, 0);
        for n in 0..400 {
            queues.push(1, 1, Image(n, false));
            // The second's images cost three times as much.
            queues.push(2, 1, Image(n, false));
            decode(&mut queues);
            let (model, _) = queues.take_batch().unwrap();
            let cost = if model == 1 { 1 } else { 3 };
            time[model as usize] += cost;
            queues.computed(model, Duration::from_secs(cost));
            in_a_row = if in_a_row.0 == model {
                (model, in_a_row.1 + 1)
            } else {
                (model, 1)
            };
            assert!(in_a_row.1 <= 4, "one waits for long: {in_a_row:?} at {n}");
        }
        assert!(time[1].abs_diff(time[2]) <= 4, "{time:?}");
    }

    #[test]
    fn a_retired_model_is_kept_until_its_last_image() {
        let mut queues = queues();
        queues.push(1, 1, Image(0, false));
        queues.retire(&[]);
        assert_eq!(queues.depth(1), 1);
        decode(&mut queues);
        assert_eq!(numbers(queues.take_batch()), [0]);
        queues.retire(&[]);
        assert_eq!(queues.lines.len(), 1, "it computes");
        queues.computed(1, Duration::ZERO);
        queues.retire(&[]);
        assert!(queues.lines.is_empty());
    }
}
