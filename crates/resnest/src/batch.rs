//! Many images: prepared on several threads, computed a part at a time, one answer an image whatever happens to the
//! others.

use std::error::Error as _;
use std::sync::OnceLock;

use candle_core::Tensor;
use rayon::prelude::*;
use resnest_image::Image;

use crate::error::contained;
use crate::{Classifier, Error, Pixels, Prediction};

/// Computes a batch (N, C, H, W): an answer an image, or why there is none for the whole batch.
pub(crate) type Rows<'a, T> = &'a dyn Fn(&Tensor) -> Result<Vec<Result<T, Error>>, Error>;

impl Classifier {
    /// The `k` best classes of several encoded images, prepared on several threads and computed some at a time, so that
    /// memory does not grow with their number.
    ///
    /// One result an image, in order: a broken one does not lose the others.
    pub fn classify_batch<B>(&self, images: &[B], k: usize) -> Vec<Result<Vec<Prediction>, Error>>
    where
        B: AsRef<[u8]> + Sync,
    {
        self.in_parts(images, |part| {
            let prepared = self.prepare_each(part, |bytes| self.preprocess(bytes.as_ref()));
            self.classify_prepared(prepared, k)
        })
    }

    /// The same for several decoded images; one result an image, in order.
    pub fn classify_rgb_batch(
        &self,
        images: &[Image],
        k: usize,
    ) -> Vec<Result<Vec<Prediction>, Error>> {
        self.in_parts(images, |part| {
            let prepared = self.prepare_each(part, |image| self.preprocess_rgb(image));
            self.classify_prepared(prepared, k)
        })
    }

    /// What `answer` makes of some images at a time: enough to be computed at once, and for every thread to have one to
    /// prepare.
    pub(crate) fn in_parts<I, T>(&self, images: &[I], answer: impl Fn(&[I]) -> Vec<T>) -> Vec<T> {
        let part = self.part().max(self.threads());
        images.chunks(part).flat_map(answer).collect()
    }

    /// Runs `prepare` on each input, on the classifier's threads; results in order.
    ///
    /// A panic in `prepare` is raised here: [`Classifier::preprocess`] has none.
    pub fn prepare_each<I, T>(&self, inputs: &[I], prepare: impl Fn(&I) -> T + Sync) -> Vec<T>
    where
        I: Sync,
        T: Send,
    {
        self.on_threads(|| match self.pool().is_some() || shared_pool() {
            true => inputs.par_iter().map(&prepare).collect(),
            false => inputs.iter().map(&prepare).collect(),
        })
    }

    /// The `k` best classes of prepared images, computed some at a time.
    ///
    /// One result an image, in order; an image whose preparation failed keeps its error.
    pub fn classify_prepared<E: From<Error>>(
        &self,
        prepared: Vec<Result<Pixels, E>>,
        k: usize,
    ) -> Vec<Result<Vec<Prediction>, E>> {
        self.answer_prepared(prepared, Self::check_classes, &|x| {
            self.rows(&self.logits(x)?, k)
        })
    }

    /// A row of logits for each prepared image.
    pub(crate) fn logits_prepared<E: From<Error>>(
        &self,
        prepared: Vec<Result<Pixels, E>>,
    ) -> Vec<Result<Vec<f32>, E>> {
        self.answer_prepared(prepared, Self::check_classes, &|x| {
            Ok(self.logits(x)?.to_vec2()?.into_iter().map(Ok).collect())
        })
    }

    /// What `rows` makes of prepared images (N, C, H, W), some at a time: one answer an image, in order. Where `check`
    /// says why there can be none, nothing is computed.
    pub(crate) fn answer_prepared<T, E: From<Error>>(
        &self,
        prepared: Vec<Result<Pixels, E>>,
        check: impl Fn(&Self) -> Result<(), Error>,
        rows: Rows<T>,
    ) -> Vec<Result<T, E>> {
        let mut answers = Vec::new();
        if check(self).is_ok() {
            let ready: Vec<&Pixels> = prepared.iter().filter_map(|p| p.as_ref().ok()).collect();
            let parts = ready.chunks(self.part());
            answers.extend(parts.flat_map(|part| self.answers(part, rows)));
        }
        let mut answers = answers.into_iter();
        let answer = |pixels: Result<Pixels, E>| {
            pixels?;
            let answer = match answers.next() {
                Some(answer) => answer,
                None => check(self).and(Err(missing())),
            };
            answer.map_err(E::from)
        };
        prepared.into_iter().map(answer).collect()
    }

    /// Exactly one answer an image.
    fn answers<T>(&self, images: &[&Pixels], rows: Rows<T>) -> Vec<Result<T, Error>> {
        match contained(|| rows(&self.to_tensor(images)?)) {
            Ok(rows) if rows.len() == images.len() => rows,
            Ok(_) => images.iter().map(|_| Err(missing())).collect(),
            Err(error) if images.len() == 1 => vec![Err(error)],
            // What is too much for all of them at once (memory, say) may do for each alone.
            Err(_) => images
                .iter()
                .flat_map(|&image| self.answers(&[image], rows))
                .collect(),
        }
    }
}

fn missing() -> Error {
    candle_core::Error::Msg("the network gave no answer for this image".into()).into()
}

/// Whether rayon's global pool, where classifiers without a number of threads prepare their images, is there or can be
/// started. Where the system has no threads left, work stays on its caller's.
fn shared_pool() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    let start = || match rayon::ThreadPoolBuilder::new().build_global() {
        Ok(()) => true,
        // That it was there before has no cause.
        Err(error) => error.source().is_none(),
    };
    rayon::current_thread_index().is_some() || *THERE.get_or_init(start)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{ClassifierOptions, DeviceChoice, demo};

    fn classifier() -> Classifier {
        Classifier::from_pretrained("demo", DeviceChoice::Cpu).unwrap()
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
        let rows = |x: &Tensor| -> Result<Vec<Result<f32, Error>>, Error> {
            let first = x.flatten_from(1)?.to_vec2::<f32>()?;
            seen.fetch_max(first.len(), Ordering::Relaxed);
            assert!(first.iter().all(|row| row[0] != bad), "a bad pixel");
            Ok(first.iter().map(|row| Ok(row[0])).collect())
        };
        let got = classifier.answer_prepared(prepared, Classifier::check_classes, &rows);
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
        assert_eq!(seen.into_inner(), classifier.part());
    }

    #[test]
    fn one_answer_too_few_is_an_error_of_its_part_alone() {
        let classifier = classifier();
        let rows = |x: &Tensor| -> Result<Vec<Result<usize, Error>>, Error> {
            Ok((1..x.dim(0)?.max(2)).map(Ok).collect())
        };
        let got: Vec<Result<usize, Error>> =
            classifier.answer_prepared(photos(&classifier, 9), |_| Ok(()), &rows);
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
        let rows = |_: &Tensor| -> Result<Vec<Result<(), Error>>, Error> { unreachable!() };
        let got = classifier.answer_prepared(photos(&classifier, 3), none, &rows);
        assert_eq!(got.len(), 3);
        assert!(
            got.iter()
                .all(|r| matches!(r, Err(Error::NoClasses { .. })))
        );
    }

    #[test]
    fn as_many_are_computed_at_once_as_were_asked_for() {
        let mut options = ClassifierOptions::default();
        options.model.batch_hint = 20;
        let classifier = Classifier::load("demo", &options).unwrap();
        let seen = AtomicUsize::new(0);
        let rows = |x: &Tensor| -> Result<Vec<Result<(), Error>>, Error> {
            seen.fetch_max(x.dim(0)?, Ordering::Relaxed);
            Ok((0..x.dim(0)?).map(|_| Ok(())).collect())
        };
        classifier.answer_prepared(photos(&classifier, 50), |_| Ok(()), &rows);
        assert_eq!(seen.into_inner(), 20);
    }
}
