//! The threads that turn what came into what the network takes.

use std::sync::PoisonError;
use std::time::Instant;

use resnest::image::{Window, contain};
use resnest::{Classifier, Error, Pixels};

use super::Shared;
use super::job::{Input, Ready, Waiting};
use crate::{Failure, Outcome};

/// Decodes image after image until the engine is gone.
pub(super) fn run(shared: &Shared) {
    while let Some((model, entry)) = next(shared) {
        #[cfg(test)]
        shared.faults.decoding();
        let ready = decode(entry);
        let there = ready.is_some();
        let mut work = shared.work();
        work.queues.decoded(model, ready);
        work.moved = Instant::now();
        drop(work);
        match there {
            true => shared.to_compute.notify_one(),
            // Its room is free for another.
            false => shared.to_decode.notify_one(),
        }
    }
}

/// The next image, waited for.
fn next(shared: &Shared) -> Option<(u64, Waiting)> {
    let mut work = shared.work();
    loop {
        if work.over {
            return None;
        }
        if let Some(next) = work.queues.take_waiting() {
            return Some(next);
        }
        let waited = shared.to_decode.wait(work);
        work = waited.unwrap_or_else(PoisonError::into_inner);
    }
}

/// A broken image is answered here.
fn decode(Waiting { mut ticket, input }: Waiting) -> Option<Ready> {
    let start = Instant::now();
    let model = ticket.model.clone();
    let prepared = contain(|| prepare(&model.classifier, input)).unwrap_or_else(|detail| {
        let text = format!("the image could not be prepared ({detail}): please report it");
        Err(Failure::internal(text))
    });
    ticket.times.decode = start.elapsed();
    match prepared {
        Ok((pixels, photo)) => Some(Ready {
            ticket,
            pixels,
            photo,
        }),
        Err(failure) => {
            ticket.answer(Err(failure));
            None
        }
    }
}

type Prepared = (Pixels, Option<(u32, u32, Window)>);

fn prepare(classifier: &Classifier, input: Input) -> Outcome<Prepared> {
    let image = match input {
        Input::Tensor(values) => return Ok((classifier.prepared(values)?, None)),
        Input::Pixels(image) => image,
        Input::Encoded(bytes) => classifier.decode(&bytes)?,
    };
    let pixels = classifier.preprocess_image(&image)?;
    let (width, height) = (image.width, image.height);
    let window = classifier
        .transform()
        .window(width, height)
        .map_err(Error::from)?;
    Ok((pixels, Some((width, height, window))))
}
