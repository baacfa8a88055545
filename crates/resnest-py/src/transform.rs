//! timm's evaluation transform alone: what `resnest_rs.create_transform` is made of.

use std::borrow::Cow;
use std::cell::Cell;

use pyo3::prelude::*;
use resnest::Limits;

use crate::engine::Size;
use crate::errors::{Failure, bad_option};
use crate::input::Input;
use crate::run::array;

/// Resize, crop, normalise.
#[pyclass(module = "resnest_rs._resnest", frozen)]
pub struct Transform {
    transform: resnest::Transform,
}

#[pymethods]
impl Transform {
    #[new]
    #[pyo3(signature = (*, input_size, crop_pct, crop_mode, interpolation, mean, std))]
    fn new(
        py: Python<'_>,
        input_size: Size,
        crop_pct: f64,
        crop_mode: &str,
        interpolation: &str,
        mean: Vec<f64>,
        std: Vec<f64>,
    ) -> PyResult<Self> {
        let bad = |error: resnest::image::Error| bad_option(py, error.to_string());
        let transform = resnest::Transform {
            size: input_size.sides(),
            crop_pct,
            crop_mode: crop_mode.parse().map_err(bad)?,
            interpolation: interpolation.parse().map_err(bad)?,
            mean,
            std,
            ..resnest::Transform::default()
        };
        transform.check().map_err(bad)?;
        Ok(Self { transform })
    }

    /// One image to (C, H, W) float32.
    fn apply<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mode = self.transform.color_mode();
        let input = Input::of(image, mode)?;
        let made = py.detach(|| self.values(&input));
        let values = made.map_err(|f: Failure| f.into_py(py, None, input.name().as_deref()))?;
        input.recycle();
        let (c, h, w) = self.transform.shape();
        let made = array(py, &values, &[c, h, w]);
        VALUES.set(values);
        made
    }
}

thread_local! {
    /// Memory for one image's values. A vector of its own would be fresh pages of the system's for every image, which take
    /// longer than the work.
    static VALUES: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

impl Transform {
    fn values(&self, input: &Input) -> Result<Vec<f32>, Failure> {
        let mode = self.transform.color_mode();
        let image = input.decode(mode, &Limits::default())?;
        let image = match image.channels == mode.channels() {
            true => image,
            false => {
                let converted = image.into_owned().into_mode(mode);
                Cow::Owned(converted.map_err(resnest::Error::from)?)
            }
        };
        let work = || {
            let crop = self.transform.crop(&image)?;
            let mut values = VALUES.take();
            values.resize(self.transform.len(), 0.0);
            self.transform.normalize_into(&crop, &mut values)?;
            Ok(values)
        };
        let values = resnest::image::contain(work);
        let values = values.map_err(|detail| resnest::Error::Panicked { detail })?;
        values.map_err(|error: resnest::image::Error| Failure::Of(error.into()))
    }
}
