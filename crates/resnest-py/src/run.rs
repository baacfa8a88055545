//! Many images through a classifier: taken from Python as there is room, computed on threads that know nothing of it.
//!
//! Images are taken on the caller's thread, so that a generator runs where its author expects it; a thread of ours runs
//! the library's `Pipeline` over them. At most two batches and one image a worker are on their way.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use resnest::image::ColorMode;
use resnest::model::forks;
use resnest::{Answered, Classifier, Prediction};

use crate::errors::{Failure, failed, to_py};
use crate::input::{Input, Source};
use crate::job::{Answer, Job};

/// So often a waiting thread asks whether there was a Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);

type Batch = Vec<Answered<Input, Answer, Failure>>;
type Message = Result<Batch, resnest::Error>;
/// An image, and what became of it.
type Done = (Input, Result<Answer, Failure>);

/// A run of one job over images that come one by one.
pub struct Run {
    mode: ColorMode,
    images: Option<Sender<Input>>,
    /// Locked for as long as its one reader waits: a receiver is not for several threads.
    batches: Mutex<Receiver<Message>>,
    /// Images that may be on their way.
    window: usize,
    under_way: usize,
    ready: VecDeque<Done>,
    taken: usize,
    /// What the source of images raised; told after the answers before it.
    raised: Option<PyErr>,
    forks: usize,
}

impl Run {
    /// # Errors
    /// What keeps every image from an answer; a thread that cannot be started.
    pub fn new(
        py: Python<'_>,
        classifier: &Arc<Classifier>,
        job: Job,
        batch_size: usize,
    ) -> PyResult<Self> {
        use resnest::Task;
        job.check(classifier).map_err(|error| to_py(py, &error))?;
        let (send_image, images) = channel::<Input>();
        let (send_batch, batches) = channel::<Message>();
        let this = Arc::clone(classifier);
        let work = move || {
            let each = |batch: Batch| match send_batch.send(Ok(batch)) {
                Ok(()) => ControlFlow::Continue(()),
                // Nobody waits for it any more.
                Err(_) => ControlFlow::Break(()),
            };
            let pipeline = this.pipeline().batch_size(batch_size);
            let prepare = |input: &Input| input.prepare(&this);
            if let Err(error) = pipeline.run_prepared(images, prepare, &job, each) {
                let _ = send_batch.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("resnest-stream".to_owned());
        thread.spawn(work).map_err(|error| failed(py, &error))?;
        Ok(Self {
            mode: classifier.transform().color_mode(),
            images: Some(send_image),
            batches: Mutex::new(batches),
            window: 2 * batch_size + classifier.threads(),
            under_way: 0,
            ready: VecDeque::new(),
            taken: 0,
            raised: None,
            forks: forks(),
        })
    }

    /// Begins with an image that was taken already.
    pub fn push(&mut self, input: Input) {
        if let Some(images) = &self.images
            && images.send(input).is_ok()
        {
            self.under_way += 1;
        }
    }

    /// The next image's answer, in order; `None` after the last. `from` gives more images.
    ///
    /// # Errors
    /// What `from` raised, after the answers before it; Ctrl-C.
    pub fn next(&mut self, py: Python<'_>, from: &mut Source<'_>) -> PyResult<Option<Done>> {
        if self.forks != forks() {
            return Err(PyRuntimeError::new_err(
                "this stream was begun before the process forked, and its threads are in the other process: begin another",
            ));
        }
        loop {
            self.fill(from);
            if let Some(next) = self.ready.pop_front() {
                self.taken += 1;
                return Ok(Some(next));
            }
            if self.under_way == 0 {
                return self.raised.take().map_or(Ok(None), Err);
            }
            let batch = self.wait(py)?.map_err(|error| to_py(py, &error))?;
            self.under_way -= batch.len().min(self.under_way);
            let answers = batch.into_iter().map(|one| (one.input, one.answer));
            self.ready.extend(answers);
        }
    }

    /// How many answers were given.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Takes images while there is room for them.
    fn fill(&mut self, from: &mut Source<'_>) {
        while self.under_way < self.window
            && let Some(images) = &self.images
        {
            let at = self.taken + self.ready.len() + self.under_way;
            match from.next(self.mode, at) {
                Some(Ok(input)) => match images.send(input) {
                    Ok(()) => self.under_way += 1,
                    // The thread has ended and said why.
                    Err(_) => self.images = None,
                },
                Some(Err(error)) => {
                    self.raised = Some(error);
                    self.images = None;
                }
                // The sender's end says so.
                None => self.images = None,
            }
        }
    }

    /// The next batch, without the GIL, hearing signals.
    fn wait(&self, py: Python<'_>) -> PyResult<Message> {
        let batches = &self.batches;
        loop {
            let waited = py.detach(|| {
                let batches = batches.lock().unwrap_or_else(PoisonError::into_inner);
                batches.recv_timeout(SIGNALS)
            });
            // Not after a timeout alone: batches may come faster than that, and one call may have a million images.
            py.check_signals()?;
            match waited {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err(
                        "the stream's thread ended without an answer: please report this",
                    ));
                }
            }
        }
    }
}

/// What `Classifier.stream` gives: an iterator over answers.
#[pyclass(module = "resnest_rs._resnest", frozen)]
pub struct Stream {
    running: Mutex<Running>,
    classifier: Arc<Classifier>,
    job: Job,
    keep_errors: bool,
}

struct Running {
    /// `None` once it has ended.
    run: Option<Run>,
    source: Kept,
}

/// A source of images between two calls.
enum Kept {
    Objects(Py<PyAny>),
    Cells(std::vec::IntoIter<Input>),
}

impl Stream {
    /// `source` is asked for images as answers are asked for.
    ///
    /// # Errors
    /// As [`Run::new`].
    pub fn new(
        py: Python<'_>,
        classifier: &Arc<Classifier>,
        source: Source<'_>,
        job: Job,
        (batch_size, keep_errors): (usize, bool),
    ) -> PyResult<Self> {
        let source = match source {
            Source::Objects(objects) => Kept::Objects(objects.unbind()),
            Source::Cells(cells) => Kept::Cells(cells),
        };
        let run = Some(Run::new(py, classifier, job, batch_size)?);
        Ok(Self {
            running: Mutex::new(Running { run, source }),
            classifier: Arc::clone(classifier),
            job,
            keep_errors,
        })
    }
}

impl Running {
    fn next(&mut self, py: Python<'_>) -> PyResult<Option<(usize, Done)>> {
        let Some(run) = &mut self.run else {
            return Ok(None);
        };
        let next = match &mut self.source {
            Kept::Objects(objects) => {
                run.next(py, &mut Source::Objects(objects.bind(py).clone()))?
            }
            Kept::Cells(cells) => {
                let mut source = Source::Cells(std::mem::take(cells));
                let next = run.next(py, &mut source);
                if let Source::Cells(rest) = source {
                    *cells = rest;
                }
                next?
            }
        };
        Ok(next.map(|done| (run.taken() - 1, done)))
    }
}

#[pymethods]
impl Stream {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut running = match self.running.try_lock() {
            Ok(running) => running,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(PyValueError::new_err(
                    "another thread is reading this stream",
                ));
            }
        };
        let next = running.next(py);
        let ended = match next {
            Ok(Some((at, (input, answer)))) => match answer {
                Ok(answer) => return one(py, &self.classifier, self.job, answer).map(Some),
                Err(failure) => {
                    let error = failure.into_py(py, Some(at), input.name().as_deref());
                    if self.keep_errors {
                        return Ok(Some(error.into_value(py).into_bound(py).into_any()));
                    }
                    Err(error)
                }
            },
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        running.run = None;
        ended
    }
}

/// One answer as a Python object: rows of classes, an array, or both.
pub fn one<'py>(
    py: Python<'py>,
    classifier: &Classifier,
    job: Job,
    answer: Answer,
) -> PyResult<Bound<'py, PyAny>> {
    match answer {
        Answer::Classes(classes) => Ok(rows(py, &classes)?.into_any()),
        Answer::Values(values) => {
            let shape = job.shape(classifier, values.len());
            array(py, &values, &shape.map_err(|error| to_py(py, &error))?)
        }
        Answer::Both(classes, values) => {
            let embedding = array(py, &values, &[values.len()])?;
            Ok((rows(py, &classes)?, embedding)
                .into_pyobject(py)?
                .into_any())
        }
    }
}

/// (index, label, description, probability, logit) for each class.
fn rows<'py>(py: Python<'py>, classes: &[Prediction]) -> PyResult<Bound<'py, PyTuple>> {
    let row = |one: &Prediction| row(py, one);
    PyTuple::new(py, classes.iter().map(row).collect::<PyResult<Vec<_>>>()?)
}

/// The fields of Python's `Class`.
pub fn row<'py>(py: Python<'py>, one: &Prediction) -> PyResult<Bound<'py, PyTuple>> {
    let Prediction {
        index,
        label,
        description,
        probability,
        logit,
    } = one;
    (*index, label, description.as_deref(), *probability, *logit).into_pyobject(py)
}

/// A numpy array of this shape, over memory of its own.
///
/// Not by the crate `numpy`: it would switch on features of what candle is made of, and candle would be built a second time.
///
/// # Errors
/// `ImportError` without numpy.
pub fn array<'py>(py: Python<'py>, values: &[f32], shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let numpy = py.import("numpy")?;
    let made = numpy.call_method1(
        "empty",
        (PyTuple::new(py, shape)?, numpy.getattr("float32")?),
    )?;
    PyBuffer::get(&made)?.copy_from_slice(py, values)?;
    Ok(made)
}
