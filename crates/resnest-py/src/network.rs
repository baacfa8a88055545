//! A network alone: what `resnest_rs.create_model` is made of.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use resnest::candle_core::{Device, Tensor};
use resnest::loader::PretrainedCfg;
use resnest::{
    Created, DeviceChoice, Error, HeadPolicy, ModelOptions, ModelSource, ResNet, Threads,
};

use crate::engine::{Cache, precision};
use crate::errors::{bad_option, to_py};
use crate::run::array;
use crate::threads::default_threads;

/// A network with its weights, and what goes with them.
#[pyclass(module = "resnest_rs._resnest", frozen)]
pub struct Network {
    model: Arc<ResNet>,
    threads: Arc<Threads>,
    name: String,
    pretrained: PretrainedCfg,
    device: Device,
    warnings: Vec<String>,
}

/// A float32 array of four dimensions, in whatever order its values lie.
type Images = PyBuffer<f32>;

#[pymethods]
impl Network {
    #[new]
    #[pyo3(signature = (name, *, pretrained=true, checkpoint=None, num_classes=None, in_chans=None, global_pool=None,
        output_stride=None, device="auto", threads=None, precision=None, batch_size=1, input_size=None, revision=None,
        cache_dir=None, weights_cache=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the options of the Python function, by name"
    )]
    fn new(
        py: Python<'_>,
        name: &str,
        pretrained: bool,
        checkpoint: Option<PathBuf>,
        num_classes: Option<usize>,
        in_chans: Option<usize>,
        global_pool: Option<&str>,
        output_stride: Option<usize>,
        device: &str,
        threads: Option<usize>,
        precision: Option<&str>,
        batch_size: usize,
        input_size: Option<crate::engine::Size>,
        revision: Option<String>,
        cache_dir: Option<PathBuf>,
        weights_cache: Option<Cache>,
    ) -> PyResult<Self> {
        let mut options = ModelOptions::default();
        options.pretrained = pretrained;
        options.device = device.parse::<DeviceChoice>().map_err(|e| to_py(py, &e))?;
        options.precision = self::precision(py, precision)?;
        options.batch_hint = batch_size.max(1);
        options.weights_cache = weights_cache.map_or_else(Default::default, Into::into);
        let side = |(height, width)| (height as usize, width as usize);
        options.size_hint = input_size.map(|size| side(size.sides()));
        let overrides = &mut options.overrides;
        overrides.num_classes = num_classes;
        overrides.in_chans = in_chans;
        overrides.output_stride = output_stride;
        overrides.revision = revision;
        if let Some(pool) = global_pool {
            let parsed = pool.parse();
            overrides.global_pool =
                Some(parsed.map_err(|e: resnest::model::Error| bad_option(py, e.to_string()))?);
        }
        if num_classes.is_some() {
            overrides.head = HeadPolicy::Replace;
        }
        if let Some(cache_dir) = cache_dir {
            let hub = resnest::hub::HubOptions::from_env().map_err(resnest::loader::Error::from);
            let mut hub = hub.map_err(|error| to_py(py, &error.into()))?;
            hub.cache_dir = cache_dir;
            options.hub = Some(hub);
        }
        let count = match threads {
            Some(0) | None => default_threads(py)?,
            Some(threads) => threads,
        };
        let created = py.detach(|| {
            let threads = Threads::new(count)?;
            let created = threads.run(|| create(name, checkpoint, &options))?;
            Ok((threads, created))
        });
        let (threads, created) = created.map_err(|error: Error| to_py(py, &error))?;
        Ok(Self {
            model: Arc::new(created.model),
            threads: Arc::new(threads),
            name: created.name,
            pretrained: created.pretrained,
            device: created.device,
            warnings: created.warnings,
        })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    #[getter]
    fn num_classes(&self) -> usize {
        self.model.config().num_classes
    }

    #[getter]
    fn num_features(&self) -> usize {
        self.model.num_features()
    }

    #[getter]
    fn in_chans(&self) -> usize {
        self.model.config().in_chans
    }

    #[getter]
    fn threads(&self) -> usize {
        self.threads.count()
    }

    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// timm's `pretrained_cfg` as JSON.
    #[getter]
    fn pretrained_cfg(&self, py: Python<'_>) -> PyResult<String> {
        serde_json::to_string(&self.pretrained).map_err(|e| crate::errors::failed(py, &e))
    }

    /// (module, num_chs, reduction) of every tap.
    #[getter]
    fn feature_info(&self) -> Vec<(&'static str, usize, usize)> {
        let taps = self.model.feature_info().into_iter();
        taps.map(|tap| (tap.module, tap.num_chs, tap.reduction))
            .collect()
    }

    /// (N, in_chans, H, W) to logits.
    fn forward<'py>(&self, py: Python<'py>, x: Images) -> PyResult<Bound<'py, PyAny>> {
        let y = self.compute(py, &x, |model, x| Ok(vec![model.forward(x)?]))?;
        self.one(py, y)
    }

    /// (N, in_chans, H, W) to the last map.
    fn forward_features<'py>(&self, py: Python<'py>, x: Images) -> PyResult<Bound<'py, PyAny>> {
        let y = self.compute(py, &x, |model, x| Ok(vec![model.forward_features(x)?]))?;
        self.one(py, y)
    }

    /// The last map to logits, or to what enters the classifier.
    fn forward_head<'py>(
        &self,
        py: Python<'py>,
        x: Images,
        pre_logits: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let y = self.compute(py, &x, |model, x| {
            Ok(vec![model.forward_head(x, pre_logits)?])
        })?;
        self.one(py, y)
    }

    /// The maps at these taps, and last the last map where `all` is wanted; without, no later stage is computed.
    fn forward_intermediates<'py>(
        &self,
        py: Python<'py>,
        x: Images,
        indices: Vec<isize>,
        all: bool,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let maps = self.compute(py, &x, |model, x| {
            if !all {
                return Ok(model.forward_features_at(x, &indices)?);
            }
            let (last, mut maps) = model.forward_intermediates(x, &indices)?;
            maps.push(last);
            Ok(maps)
        })?;
        maps.into_iter()
            .map(|(values, shape)| array(py, &values, &shape))
            .collect()
    }
}

fn create(
    name: &str,
    checkpoint: Option<PathBuf>,
    options: &ModelOptions,
) -> Result<Created, Error> {
    match checkpoint {
        None => Created::new(name, options),
        Some(path) => {
            let architecture = Some(name.to_owned());
            Created::from_source(&ModelSource::File { path, architecture }, options)
        }
    }
}

type Values = (Vec<f32>, Vec<usize>);

impl Network {
    /// Runs `work` on the network's threads, without the GIL; tensors as values and shape.
    fn compute(
        &self,
        py: Python<'_>,
        x: &Images,
        work: impl Fn(&ResNet, &Tensor) -> Result<Vec<Tensor>, Error> + Sync,
    ) -> PyResult<Vec<Values>> {
        let shape = x.shape().to_vec();
        let values = x.to_vec(py)?;
        let computed = py.detach(|| {
            let x = Tensor::from_vec(values, shape, &Device::Cpu)?.to_device(&self.device)?;
            let run = || resnest::image::contain(|| work(&self.model, &x));
            let tensors = self.threads.run(run);
            let tensors = tensors.unwrap_or_else(|detail| Err(Error::Panicked { detail }))?;
            let plain = |y: Tensor| {
                let y = y.to_device(&Device::Cpu)?;
                Ok((y.flatten_all()?.to_vec1::<f32>()?, y.dims().to_vec()))
            };
            tensors.into_iter().map(plain).collect()
        });
        let computed: Result<Vec<Values>, Error> = computed;
        let computed = computed.map_err(|error| to_py(py, &error))?;
        py.check_signals()?;
        Ok(computed)
    }

    fn one<'py>(&self, py: Python<'py>, mut tensors: Vec<Values>) -> PyResult<Bound<'py, PyAny>> {
        match tensors.pop() {
            Some((values, shape)) => array(py, &values, &shape),
            None => array(py, &[], &[0]),
        }
    }
}
