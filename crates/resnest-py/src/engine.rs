//! The classifier.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use resnest::explain::{ActivationMap, Classes};
use resnest::image::Window;
use resnest::{
    Classifier, Pixels, Precision, Prediction, WeightsCache, device_name, precision_name,
};

use crate::errors::{Failure, bad_option, to_py};
use crate::input::{Given, Input, Source};
use crate::job::{Answer, Job};
use crate::run::{Run, Stream, array, one, row};
use crate::threads::default_threads;

/// A loaded classifier: what `resnest_rs.Classifier` is made of.
#[pyclass(module = "resnest_rs._resnest", frozen)]
pub struct Engine {
    classifier: Arc<Classifier>,
    batch_size: usize,
}

/// What a call came to: an answer for each image, and whether there was one alone.
struct Answers {
    images: Vec<Result<Answer, PyErr>>,
    single: bool,
}

/// A side, or height and width.
#[derive(FromPyObject)]
pub enum Size {
    Side(u32),
    Sides(u32, u32),
}

impl Size {
    pub fn sides(&self) -> (u32, u32) {
        match *self {
            Self::Side(side) => (side, side),
            Self::Sides(height, width) => (height, width),
        }
    }
}

/// `True` for what the environment says, `False` for none, else a folder.
#[derive(FromPyObject)]
pub enum Cache {
    Switch(bool),
    Folder(PathBuf),
}

impl From<Cache> for WeightsCache {
    fn from(cache: Cache) -> Self {
        match cache {
            Cache::Switch(true) => Self::FromEnv,
            Cache::Switch(false) => Self::Off,
            Cache::Folder(folder) => Self::At(folder),
        }
    }
}

/// The precision of this name; `None` for what goes with the checkpoint.
///
/// # Errors
/// `ModelError` for a name that is none.
pub fn precision(py: Python<'_>, name: Option<&str>) -> PyResult<Option<Precision>> {
    Ok(Some(match name {
        None | Some("auto") => return Ok(None),
        Some("fast") => Precision::Fast,
        Some("exact") => Precision::Exact,
        Some("bf16") => Precision::Bf16,
        Some("int8") => Precision::Int8,
        Some(other) => {
            let problem =
                format!("unknown precision {other:?}: use auto, fast, exact, bf16 or int8");
            return Err(bad_option(py, problem));
        }
    }))
}

/// Whether errors stay in their image's place.
fn keeps(py: Python<'_>, errors: &str) -> PyResult<bool> {
    match errors {
        "raise" => Ok(false),
        "return" => Ok(true),
        _ => Err(bad_option(
            py,
            format!("errors={errors:?}: use \"raise\" or \"return\""),
        )),
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (name, *, device="auto", threads=None, precision=None, input_size=None, crop_pct=None, crop_mode=None,
        interpolation=None, batch_size=8, checkpoint=None, num_classes=None, in_chans=None, global_pool=None,
        test_time_pool=false, revision=None, manifest=None, offline=None, cache_dir=None, endpoint=None, token=None,
        max_pixels=None, weights_cache=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the options of the Python class, by name"
    )]
    fn new(
        py: Python<'_>,
        name: &str,
        device: &str,
        threads: Option<usize>,
        precision: Option<&str>,
        input_size: Option<Size>,
        crop_pct: Option<f64>,
        crop_mode: Option<&str>,
        interpolation: Option<&str>,
        batch_size: usize,
        checkpoint: Option<PathBuf>,
        num_classes: Option<usize>,
        in_chans: Option<usize>,
        global_pool: Option<&str>,
        test_time_pool: bool,
        revision: Option<String>,
        manifest: Option<PathBuf>,
        offline: Option<bool>,
        cache_dir: Option<PathBuf>,
        endpoint: Option<String>,
        token: Option<String>,
        max_pixels: Option<u64>,
        weights_cache: Option<Cache>,
    ) -> PyResult<Self> {
        let threads = match threads {
            Some(0) | None => default_threads(py)?,
            Some(threads) => threads,
        };
        let batch_size = batch_size.max(1);
        let mut builder = Classifier::builder(name)
            .device(device.parse().map_err(|error| to_py(py, &error))?)
            .threads(threads)
            .batch_hint(batch_size)
            .test_time_pool(test_time_pool)
            .headless(true);
        let option = |text: String| bad_option(py, text);
        // Each sets what was given.
        macro_rules! set {
            ($($name:ident: $value:expr),* $(,)?) => {
                $(if let Some(value) = $value { builder = builder.$name(value); })*
            };
        }
        set! {
            precision: self::precision(py, precision)?,
            input_size: input_size.map(|size| size.sides()),
            crop_pct: crop_pct,
            checkpoint: checkpoint,
            num_classes: num_classes,
            in_chans: in_chans,
            revision: revision,
            manifest: manifest,
            offline: offline,
            cache_dir: cache_dir,
            endpoint: endpoint,
            token: token,
            weights_cache: weights_cache.map(WeightsCache::from),
        }
        if let Some(mode) = crop_mode {
            builder = builder.crop_mode(
                mode.parse()
                    .map_err(|e: resnest::image::Error| option(e.to_string()))?,
            );
        }
        if let Some(filter) = interpolation {
            builder = builder.interpolation(
                filter
                    .parse()
                    .map_err(|e: resnest::image::Error| option(e.to_string()))?,
            );
        }
        if let Some(pool) = global_pool {
            builder = builder.global_pool(
                pool.parse()
                    .map_err(|e: resnest::model::Error| option(e.to_string()))?,
            );
        }
        if let Some(pixels) = max_pixels {
            let mut limits = resnest::Limits::default();
            limits.max_pixels = pixels;
            builder = builder.limits(limits);
        }
        let classifier = py
            .detach(|| builder.load())
            .map_err(|error| to_py(py, &error))?;
        Ok(Self {
            classifier: Arc::new(classifier),
            batch_size,
        })
    }

    #[getter]
    fn name(&self) -> &str {
        self.classifier.name()
    }

    #[getter]
    fn device(&self) -> String {
        device_name(self.classifier.device()).to_string()
    }

    #[getter]
    fn precision(&self) -> &'static str {
        precision_name(self.classifier.precision())
    }

    #[getter]
    fn threads(&self) -> usize {
        self.classifier.threads()
    }

    #[getter]
    fn batch_size(&self) -> usize {
        self.batch_size
    }

    #[getter]
    fn num_classes(&self) -> usize {
        self.classifier.labels().len()
    }

    #[getter]
    fn num_features(&self) -> usize {
        self.classifier.model().num_features()
    }

    #[getter]
    fn input_size(&self) -> (u32, u32) {
        self.classifier.transform().size
    }

    #[getter]
    fn labels(&self) -> Vec<String> {
        let labels = self.classifier.labels();
        (0..labels.len()).map(|index| labels.name(index)).collect()
    }

    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.classifier.warnings().to_vec()
    }

    /// Rows of classes, or an exception, for each image; and whether there was one alone.
    fn predictions<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        topk: usize,
        errors: &str,
    ) -> PyResult<(Bound<'py, PyList>, bool)> {
        let job = Job::Classify(topk);
        let answers = self.answers(py, images, job, keeps(py, errors)?)?;
        Ok((self.objects(py, job, answers.images)?, answers.single))
    }

    /// Rows of classes and an embedding, or an exception, for each image: from one forward.
    fn outputs<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        topk: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        let job = Job::Both(topk);
        let answers = self.answers(py, images, job, true)?;
        self.objects(py, job, answers.images)
    }

    /// An array (N, ...), or with errors kept a list of arrays and exceptions; and whether there was one image alone.
    fn values<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        task: &str,
        stage: Option<&Bound<'py, PyAny>>,
        errors: &str,
    ) -> PyResult<(Bound<'py, PyAny>, bool)> {
        let (keep, job) = (keeps(py, errors)?, Job::named(py, task, 0, stage)?);
        let answers = self.answers(py, images, job, keep)?;
        if keep {
            let objects = self.objects(py, job, answers.images)?;
            return Ok((objects.into_any(), answers.single));
        }
        let mut all = Vec::new();
        let count = answers.images.len();
        for answer in answers.images {
            if let Answer::Values(mut values) = answer? {
                match all.is_empty() {
                    true => all = values,
                    false => all.append(&mut values),
                }
            }
        }
        let each = match count {
            0 => self.length(job),
            count => all.len() / count,
        };
        let shape = job.shape(&self.classifier, each);
        let mut shape = shape.map_err(|error| to_py(py, &error))?;
        shape.insert(0, count);
        Ok((array(py, &all, &shape)?, answers.single))
    }

    /// An iterator over answers.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the options of the Python method"
    )]
    fn stream(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        task: &str,
        topk: usize,
        stage: Option<&Bound<'_, PyAny>>,
        errors: &str,
        batch_size: Option<usize>,
    ) -> PyResult<Stream> {
        let job = Job::named(py, task, topk, stage)?;
        let source = Source::of_iterable(images)?;
        let batch_size = batch_size.unwrap_or(self.batch_size).max(1);
        let how = (batch_size, keeps(py, errors)?);
        Stream::new(py, &self.classifier, source, job, how)
    }

    /// A class's row, its map (H, W), and the map's further forms.
    #[pyo3(signature = (image, label=None))]
    fn cam<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        label: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyAny>, Map)> {
        let classifier = &self.classifier;
        classifier.check_maps().map_err(|error| to_py(py, &error))?;
        let classes = self.class(py, label)?;
        let mode = classifier.transform().color_mode();
        let input = Input::of(image, mode)?;
        let explained = py.detach(|| {
            let photo = input.decode(mode, classifier.limits())?;
            Ok(classifier.cam_image(&*photo, &classes)?)
        });
        let mut explained = explained
            .map_err(|failure: Failure| failure.into_py(py, None, input.name().as_deref()))?;
        let map = explained.maps.pop();
        let map =
            map.ok_or_else(|| bad_option(py, "the model has no classes to show".to_owned()))?;
        let (height, width) = map.size();
        let values = array(py, map.values(), &[height, width])?;
        let best = row(py, &map.prediction)?;
        let size = (explained.image.height, explained.image.width);
        let window = explained.window;
        Ok((best, values, Map { map, window, size }))
    }
}

impl Engine {
    fn class(&self, py: Python<'_>, label: Option<&Bound<'_, PyAny>>) -> PyResult<Classes> {
        let Some(label) = label else {
            return Ok(Classes::Top(1));
        };
        if let Ok(index) = label.extract::<usize>() {
            return Ok(Classes::These(vec![index]));
        }
        let text: String = label.extract()?;
        let found = self.classifier.labels().find(&text);
        Ok(Classes::These(vec![
            found.map_err(|error| to_py(py, &error))?,
        ]))
    }

    /// How many values an answer has, where there is none to look at.
    fn length(&self, job: Job) -> usize {
        match job {
            Job::Features(_) => self.num_features(),
            _ => self.num_classes(),
        }
    }

    /// What each answer is in Python; an exception in the place of one that failed.
    fn objects<'py>(
        &self,
        py: Python<'py>,
        job: Job,
        answers: Vec<Result<Answer, PyErr>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let object = |answer| match answer {
            Ok(answer) => one(py, &self.classifier, job, answer),
            Err(error) => Ok(PyErr::into_value(error, py).into_bound(py).into_any()),
        };
        let objects: PyResult<Vec<_>> = answers.into_iter().map(object).collect();
        PyList::new(py, objects?)
    }

    /// An answer for each image. Unless errors are kept, the first of them is raised.
    fn answers(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        job: Job,
        keep: bool,
    ) -> PyResult<Answers> {
        let mode = self.classifier.transform().color_mode();
        let mut source = match Given::of(images)? {
            Given::One(image) => {
                let input = [Input::of(&image, mode)?];
                let mut images = self.few(py, job, &input)?;
                let named =
                    |failure: Failure| failure.into_py(py, None, input[0].name().as_deref());
                let answer = images.remove(0).map_err(named);
                let images = vec![if keep { answer } else { Ok(answer?) }];
                return Ok(Answers {
                    images,
                    single: true,
                });
            }
            Given::Many(source) => source,
        };
        let mut first = Vec::new();
        while first.len() < self.batch_size
            && let Some(input) = source.next(mode, first.len())
        {
            first.push(input?);
        }
        let images = match source.next(mode, first.len()) {
            None => self.kept(py, job, first, keep)?,
            Some(more) => {
                first.push(more?);
                self.many(py, job, (first, source), keep)?
            }
        };
        Ok(Answers {
            images,
            single: false,
        })
    }

    /// A batch or less, decoded and then computed.
    fn few(
        &self,
        py: Python<'_>,
        job: Job,
        inputs: &[Input],
    ) -> PyResult<Vec<Result<Answer, Failure>>> {
        use resnest::Task;
        let classifier = &self.classifier;
        job.check(classifier).map_err(|error| to_py(py, &error))?;
        let answers = py.detach(|| {
            let pipeline = classifier.pipeline();
            let prepare = |input: &Input| -> Result<Pixels, Failure> { input.prepare(classifier) };
            pipeline.answer(pipeline.map(inputs, prepare), &job)
        });
        py.check_signals()?;
        Ok(answers)
    }

    fn kept(
        &self,
        py: Python<'_>,
        job: Job,
        inputs: Vec<Input>,
        keep: bool,
    ) -> PyResult<Vec<Result<Answer, PyErr>>> {
        let answers = self.few(py, job, &inputs)?;
        let mut images = Vec::with_capacity(inputs.len());
        for (at, (input, answer)) in inputs.into_iter().zip(answers).enumerate() {
            let named = |failure: Failure| failure.into_py(py, Some(at), input.name().as_deref());
            let answer = answer.map_err(named);
            images.push(if keep { answer } else { Ok(answer?) });
        }
        Ok(images)
    }

    /// More than a batch: decoded beside the network.
    fn many(
        &self,
        py: Python<'_>,
        job: Job,
        (first, mut rest): (Vec<Input>, Source<'_>),
        keep: bool,
    ) -> PyResult<Vec<Result<Answer, PyErr>>> {
        let mut run = Run::new(py, &self.classifier, job, self.batch_size)?;
        first.into_iter().for_each(|input| run.push(input));
        let mut images = Vec::new();
        while let Some((input, answer)) = run.next(py, &mut rest)? {
            let at = images.len();
            let named = |failure: Failure| failure.into_py(py, Some(at), input.name().as_deref());
            let answer = answer.map_err(named);
            images.push(if keep { answer } else { Ok(answer?) });
        }
        Ok(images)
    }
}

/// The further forms of an activation map.
#[pyclass(module = "resnest_rs._resnest", frozen)]
pub struct Map {
    map: ActivationMap,
    window: Window,
    /// Height and width of the image.
    size: (u32, u32),
}

/// What pickles keep of a map: the class's row, the map's shape and values, the window (x, y, width, height), and the
/// image's height and width.
type Kept = (
    (usize, String, Option<String>, f32, f32),
    (usize, usize),
    Vec<f32>,
    (f64, f64, f64, f64),
    (u32, u32),
);

#[pymethods]
impl Map {
    #[new]
    fn new(
        py: Python<'_>,
        prediction: (usize, String, Option<String>, f32, f32),
        shape: (usize, usize),
        values: Vec<f32>,
        window: (f64, f64, f64, f64),
        size: (u32, u32),
    ) -> PyResult<Self> {
        let (index, label, description, probability, logit) = prediction;
        let prediction = Prediction {
            index,
            label,
            description,
            probability,
            logit,
        };
        let map = ActivationMap::new(prediction, shape.0, shape.1, values);
        let (x, y, width, height) = window;
        Ok(Self {
            map: map.map_err(|error| to_py(py, &error))?,
            window: Window {
                x,
                y,
                width,
                height,
            },
            size,
        })
    }

    /// For pickles: the arguments of the constructor.
    fn __getnewargs__(&self) -> Kept {
        let one = self.map.prediction.clone();
        let Window {
            x,
            y,
            width,
            height,
        } = self.window;
        (
            (
                one.index,
                one.label,
                one.description,
                one.probability,
                one.logit,
            ),
            self.map.size(),
            self.map.values().to_vec(),
            (x, y, width, height),
            self.size,
        )
    }

    /// (height, width), from 0 to 1.
    fn resized<'py>(
        &self,
        py: Python<'py>,
        height: usize,
        width: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        if height == 0 || width == 0 {
            return Err(bad_option(
                py,
                format!("a map of {height}x{width} has no values"),
            ));
        }
        array(py, &self.map.resized(height, width), &[height, width])
    }

    /// Of the image's size, NaN where the model did not look.
    fn over_image<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (height, width) = (self.size.0 as usize, self.size.1 as usize);
        let values = py.detach(|| self.map.over(&self.window, width, height));
        array(py, &values, &[height, width])
    }
}
