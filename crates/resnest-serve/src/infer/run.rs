//! The images of one request through the engine, however many there are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Done, Input, Wants};
use crate::failure::Kind;
use crate::models::Model;
use crate::{Failure, Outcome, State};

impl State {
    /// What becomes of each of a request's images, in their order.
    ///
    /// A request of many has a few at a time in the queues, as many as keep the network busy, so that others' images come
    /// in between. New requests are refused at the doors once the server is shutting down: one that was let in before that,
    /// its body perhaps still coming, is answered.
    ///
    /// # Errors
    /// No place for them; no answer within the time of a request.
    pub async fn answer(
        &self,
        model: &Arc<Model>,
        inputs: Vec<Input>,
        wants: Wants,
    ) -> Outcome<Vec<Done>> {
        let most = self.options.limits.max_images;
        if inputs.len() > most {
            let text = format!("{} images in one request: the most is {most}", inputs.len());
            return Err(Failure::new(Kind::TooLarge, text));
        }
        let limit = self.options.limits.request_timeout;
        let all = self.one_after_another(model, inputs, wants);
        match tokio::time::timeout(limit, all).await {
            Ok(done) => done,
            Err(_) => Err(self.rejected(model, Kind::Timeout, {
                format!("no answer within {:.0} s", limit.as_secs_f64())
            })),
        }
    }

    async fn one_after_another(
        &self,
        model: &Arc<Model>,
        inputs: Vec<Input>,
        wants: Wants,
    ) -> Outcome<Vec<Done>> {
        let window = inputs.len().min(4 * model.max_batch).clamp(1, model.queue);
        let mut places = Vec::with_capacity(window);
        for _ in 0..window {
            let place = model.places.clone().try_acquire_owned();
            places.push(Arc::new(place.map_err(|_| self.overloaded(model))?));
        }
        let mut done = Vec::with_capacity(inputs.len());
        let mut pending = VecDeque::with_capacity(window);
        for (at, input) in inputs.into_iter().enumerate() {
            if pending.len() == window {
                done.extend(next(&mut pending).await?);
            }
            let place = places[at % window].clone();
            pending.push_back(self.engine.submit(model, input, wants, Some(place)));
        }
        while let Some(next) = next(&mut pending).await? {
            done.push(next);
        }
        Ok(done)
    }

    fn overloaded(&self, model: &Model) -> Failure {
        let text = format!(
            "model {} has {} images waiting already, as many as may wait: try again later",
            model.name, model.queue
        );
        let mut failure = self.rejected(model, Kind::Overloaded, text);
        failure.retry_after = Some(drained_in(model).as_secs().clamp(1, 60));
        failure
    }

    fn rejected(&self, model: &Model, kind: Kind, text: String) -> Failure {
        if let Some(reason) = kind.rejection() {
            self.metrics.rejected(&model.name, reason);
        }
        Failure::new(kind, text)
    }
}

async fn next<P>(pending: &mut VecDeque<P>) -> Outcome<Option<Done>>
where
    P: Future<Output = Outcome<Done>> + Unpin,
{
    match pending.pop_front() {
        Some(image) => Ok(Some(image.await?)),
        None => Ok(None),
    }
}

/// How long what waits will take, by what its images took so far; at least a second.
fn drained_in(model: &Model) -> Duration {
    let totals = model.metrics.totals();
    let (mut images, mut time) = (0, Duration::ZERO);
    for (size, (count, took)) in totals.batches {
        images += size as u64 * count;
        time += took;
    }
    let each = time.as_secs_f64() / images.max(1) as f64;
    Duration::from_secs_f64((each * model.queue as f64).ceil().clamp(1.0, 3600.0))
}
