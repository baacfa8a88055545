//! Prepared images through the network, some at a time, one answer per image whatever happens to the others.

use rayon::prelude::*;

use super::Task;
use crate::error::contained;
use crate::{Classifier, Error, Pixels};

/// Runs `work` on each input, on the classifier's threads; results in order.
pub(super) fn map<I: Sync, T: Send>(
    classifier: &Classifier,
    inputs: &[I],
    work: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    classifier.on_threads(|| match classifier.prepares_in_parallel() {
        true => inputs.par_iter().map(&work).collect(),
        false => inputs.iter().map(&work).collect(),
    })
}

/// See [`super::Pipeline::answer`].
pub(super) fn answer<T: Task + ?Sized, E: From<Error>>(
    classifier: &Classifier,
    batch_size: usize,
    prepared: Vec<Result<Pixels, E>>,
    task: &T,
) -> Vec<Result<T::Answer, E>> {
    let mut answers = Vec::new();
    if task.check(classifier).is_ok() {
        let ready: Vec<&Pixels> = prepared.iter().filter_map(|p| p.as_ref().ok()).collect();
        let batches = ready.chunks(batch_size);
        answers.extend(batches.flat_map(|batch| one_batch(classifier, batch, task)));
    }
    let mut answers = answers.into_iter();
    let answer = |pixels: Result<Pixels, E>| {
        pixels?;
        let answer = match answers.next() {
            Some(answer) => answer,
            None => task.check(classifier).and(Err(missing())),
        };
        answer.map_err(E::from)
    };
    prepared.into_iter().map(answer).collect()
}

/// Exactly one answer per image.
fn one_batch<T: Task + ?Sized>(
    classifier: &Classifier,
    images: &[&Pixels],
    task: &T,
) -> Vec<Result<T::Answer, Error>> {
    match contained(|| task.answers(classifier, &classifier.to_tensor(images)?)) {
        Ok(answers) if answers.len() == images.len() => answers,
        Ok(_) => images.iter().map(|_| Err(missing())).collect(),
        Err(error) if images.len() == 1 => vec![Err(error)],
        // What is too much for all of them at once (memory, say) may do for each alone.
        Err(_) => images
            .iter()
            .flat_map(|&image| one_batch(classifier, &[image], task))
            .collect(),
    }
}

fn missing() -> Error {
    candle_core::Error::Msg("the network gave no answer for this image".into()).into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::Tensor;

    use super::*;
    use crate::demo;

    type Answers<T> = Result<Vec<Result<T, Error>>, Error>;

    /// A task of a closure.
    struct Made<F>(F, fn(&Classifier) -> Result<(), Error>);

    impl<T: Send, F: Fn(&Tensor) -> Answers<T> + Sync> Task for Made<F> {
        type Answer = T;

        fn check(&self, classifier: &Classifier) -> Result<(), Error> {
            (self.1)(classifier)
        }

        fn answers(&self, _: &Classifier, x: &Tensor) -> Answers<T> {
            (self.0)(x)
        }
    }

    fn classifier() -> Classifier {
        Classifier::builder("demo").load().unwrap()
    }

    fn photos(classifier: &Classifier, count: usize) -> Vec<Result<Pixels, Error>> {
        let photo = |at: usize| classifier.preprocess(demo::PHOTOS[at % 2].1);
        (0..count).map(photo).collect()
    }

    #[test]
    fn a_panic_in_the_computation_costs_one_image() {
        let classifier = classifier();
        let mut prepared = photos(&classifier, 11);
        prepared[4] = Err(Error::NotFinite {
            index: 0,
            value: f32::NAN,
        });
        let bad = classifier.preprocess(demo::PHOTOS[1].1).unwrap().0[0];
        let seen = AtomicUsize::new(0);
        let rows = |x: &Tensor| -> Answers<f32> {
            let first = x.flatten_from(1)?.to_vec2::<f32>()?;
            seen.fetch_max(first.len(), Ordering::Relaxed);
            assert!(first.iter().all(|row| row[0] != bad), "a bad pixel");
            Ok(first.iter().map(|row| Ok(row[0])).collect())
        };
        let got = (classifier.pipeline()).answer(prepared, &Made(rows, Classifier::check_classes));
        assert_eq!(got.len(), 11);
        for (at, got) in got.iter().enumerate() {
            match got {
                Ok(_) => assert!(at % 2 == 0 && at != 4),
                Err(Error::Panicked { detail }) => {
                    assert!(at % 2 == 1 && detail.contains("a bad pixel"))
                }
                Err(Error::NotFinite { .. }) => assert_eq!(at, 4),
                Err(other) => panic!("{at}: {other}"),
            }
        }
        assert_eq!(seen.into_inner(), classifier.batch_size());
    }

    #[test]
    fn one_answer_too_few_is_an_error_of_its_part_alone() {
        let classifier = classifier();
        let rows = |x: &Tensor| -> Answers<usize> { Ok((1..x.dim(0)?.max(2)).map(Ok).collect()) };
        let got: Vec<Result<usize, Error>> =
            (classifier.pipeline()).answer(photos(&classifier, 9), &Made(rows, |_| Ok(())));
        assert_eq!(got.len(), 9);
        assert!(got[..8].iter().all(Result::is_err));
        assert_eq!(*got[8].as_ref().unwrap(), 1);
    }

    #[test]
    fn nothing_is_computed_where_there_is_nothing_to_say() {
        let classifier = classifier();
        let none = |_: &Classifier| {
            Err(Error::NoClasses {
                model: "m".to_owned(),
            })
        };
        let rows = |_: &Tensor| -> Answers<()> { unreachable!() };
        let got = (classifier.pipeline()).answer(photos(&classifier, 3), &Made(rows, none));
        assert_eq!(got.len(), 3);
        assert!(
            got.iter()
                .all(|r| matches!(r, Err(Error::NoClasses { .. })))
        );
    }

    #[test]
    fn as_many_are_computed_at_once_as_were_asked_for() {
        let classifier = Classifier::builder("demo").batch_hint(20).load().unwrap();
        let seen = AtomicUsize::new(0);
        let rows = |x: &Tensor| -> Answers<()> {
            seen.fetch_max(x.dim(0)?, Ordering::Relaxed);
            Ok((0..x.dim(0)?).map(|_| Ok(())).collect())
        };
        (classifier.pipeline()).answer(photos(&classifier, 50), &Made(rows, |_| Ok(())));
        assert_eq!(seen.into_inner(), 20);
    }
}
