//! Batch after batch of images, read and prepared beside whatever is done with them.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Builder;

use anyhow::{Error, Result, anyhow};
use resnest::Classifier;
use resnest::image::contain;

use super::inputs::Input;
use super::{Failure, words};

/// The images of one batch, and what was made of each.
pub type Batch<'a, T> = (&'a [Input], Vec<Result<T>>);

/// Prepares `inputs` on the classifier's threads, batch by batch and in order, while `consume` takes them; it may stop
/// before the last. Never more than three batches are in memory. A panic in `prepare` is an error of its image.
///
/// # Errors
/// A thread that cannot be started.
pub fn run<'a, T: Send, R>(
    classifier: &Classifier,
    inputs: &'a [Input],
    batch_size: usize,
    prepare: impl Fn(&Input) -> Result<T> + Sync,
    consume: impl FnOnce(Receiver<Batch<'a, T>>) -> R,
) -> Result<R, Failure> {
    let prepare = &|input: &Input| contained(|| prepare(input));
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        let work = move || {
            for inputs in inputs.chunks(batch_size) {
                let prepared = classifier.prepare_each(inputs, prepare);
                if sender.send((inputs, prepared)).is_err() {
                    return;
                }
            }
        };
        let started = Builder::new().spawn_scoped(scope, work);
        started.map_err(|e| Failure::Other(Error::from(e).context("cannot start a thread")))?;
        Ok(consume(receiver))
    })
}

/// Runs `work`; a panic in it is an error like any other, and nothing is printed.
pub fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    contain(work).unwrap_or_else(|detail| {
        Err(anyhow!(
            "it failed in a way it should not ({detail}): please report this image"
        ))
    })
}

/// Why an image has no answer, for people and files.
pub fn reason(error: &Error) -> String {
    words::say_any(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resnest::DeviceChoice;

    #[test]
    fn a_panic_is_an_error_of_its_image_and_the_others_are_prepared() {
        let classifier = Classifier::from_pretrained("demo", DeviceChoice::Cpu).unwrap();
        let input = |at: usize| Input::File(at.to_string().into());
        let inputs: Vec<Input> = (0..9).map(input).collect();
        let prepare = |input: &Input| match input.name().as_str() {
            "4" => panic!("the fourth"),
            name => Ok(name.to_owned()),
        };
        let consume = |batches: Receiver<Batch<String>>| -> Vec<Result<String>> {
            batches.into_iter().flat_map(|(_, made)| made).collect()
        };
        let made = run(&classifier, &inputs, 2, prepare, consume).unwrap();
        assert_eq!(made.len(), 9);
        for (at, one) in made.into_iter().enumerate() {
            match one {
                Ok(name) => assert_eq!(name, at.to_string()),
                Err(error) => {
                    assert_eq!(at, 4);
                    assert!(error.to_string().contains("the fourth"), "{error}");
                }
            }
        }
    }
}
