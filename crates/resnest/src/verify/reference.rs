//! A recorded reference: `tests/verify/make_reference.py` writes it and says what is in it.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use resnest_model::parameter_count;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Activation;
use crate::{Classifier, Error, TransformOverrides};

/// What `format` in the metadata says.
const FORMAT: &str = "resnest-reference-1";

/// What a network should compute: its input, and each stage's output in f32 and in f64.
#[derive(Debug, Clone)]
pub struct Reference {
    /// What messages call it.
    name: String,
    origin: String,
    parameters: Option<usize>,
    images: Vec<(String, Vec<u8>)>,
    input: Tensor,
    stages: Vec<Recorded>,
    overrides: TransformOverrides,
    transform: Option<RecordedTransform>,
}

/// One stage; `single` and `double` hold the same positions of it, all or evenly strided ones.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) stage: String,
    pub(super) shape: Vec<usize>,
    pub(super) single: Vec<f64>,
    pub(super) double: Vec<f64>,
}

impl Recorded {
    /// Of a whole output, the values at the recorded positions: the flat ones i · count / samples.
    pub(super) fn positions_of(&self, whole: &[f64]) -> Vec<f64> {
        let samples = self.single.len();
        (0..samples)
            .filter_map(|i| whole.get(i * whole.len() / samples).copied())
            .collect()
    }
}

/// timm's data configuration at the time.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RecordedTransform {
    pub(super) input_size: [usize; 3],
    pub(super) crop_pct: f64,
    pub(super) crop_mode: String,
    pub(super) interpolation: String,
    pub(super) mean: Vec<f64>,
    pub(super) std: Vec<f64>,
}

/// What the script's user asked for otherwise than the model's configuration says.
#[derive(Debug, Default, Deserialize)]
struct RecordedOverrides {
    input_size: Option<[u32; 3]>,
    crop_pct: Option<f64>,
}

impl Reference {
    /// Reads a reference.
    ///
    /// # Errors
    /// [`Error::Reference`] naming what is missing or does not fit together.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Self::from_bytes(&bytes, &name),
            Err(error) => Err(problem(&name, format!("cannot be read: {error}"))),
        }
    }

    /// The same from memory; `name` is what messages call it.
    ///
    /// # Errors
    /// As [`Reference::open`].
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self, Error> {
        read(bytes, name).map_err(|reason| problem(name, reason))
    }

    /// A reference of this machine's own making, such as the plain composition's activations in f32 (`single`) and in
    /// f64 (`double`) on the normalised images `input` (N, C, H, W).
    ///
    /// # Errors
    /// [`Error::Reference`] if the two are not of the same stages.
    pub fn computed(
        origin: &str,
        input: Tensor,
        single: Vec<Activation>,
        double: Vec<Activation>,
    ) -> Result<Self, Error> {
        let same = single.len() == double.len()
            && (single.iter().zip(&double))
                .all(|(a, b)| a.stage == b.stage && a.shape == b.shape && !a.values.is_empty());
        if !same {
            let reason = "its f32 and its f64 are not of the same stages";
            return Err(problem(origin, reason.to_owned()));
        }
        let stages = single.into_iter().zip(double).map(|(a, b)| Recorded {
            stage: a.stage,
            shape: a.shape,
            single: a.values,
            double: b.values,
        });
        Ok(Self {
            name: origin.to_owned(),
            origin: origin.to_owned(),
            parameters: None,
            images: Vec::new(),
            input,
            stages: stages.collect(),
            overrides: TransformOverrides::default(),
            transform: None,
        })
    }

    /// What computed it: the model and the versions.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The encoded images, by name; none if the input was noise.
    pub fn images(&self) -> &[(String, Vec<u8>)] {
        &self.images
    }

    /// What entered the network: f32 (N, C, H, W).
    pub fn input(&self) -> &Tensor {
        &self.input
    }

    /// The preprocessing that was asked for otherwise than the model's own; load the classifier with it.
    pub fn transform(&self) -> TransformOverrides {
        // Noise has the size it has, whatever the model's own is.
        let size = match (self.input.dims(), self.overrides.input_size) {
            (&[_, _, h, w], None) if self.images.is_empty() => {
                Some((u32::try_from(h).unwrap_or(0), u32::try_from(w).unwrap_or(0)))
            }
            (_, size) => size,
        };
        TransformOverrides {
            input_size: size,
            ..self.overrides
        }
    }

    pub(super) fn stages(&self) -> &[Recorded] {
        &self.stages
    }

    pub(super) fn recorded_transform(&self) -> Option<&RecordedTransform> {
        (self.transform.as_ref()).filter(|_| !self.images.is_empty())
    }

    pub(super) fn error(&self, reason: String) -> Error {
        problem(&self.name, reason)
    }

    /// Refuses a reference that is plainly of another network, before anything is computed.
    pub(super) fn check_network(&self, classifier: &Classifier) -> Result<(), Error> {
        let config = classifier.model().config();
        let (here, name) = (parameter_count(config)?, classifier.name());
        if let Some(there) = self.parameters.filter(|&there| there != here) {
            return Err(self.error(format!(
                "it is of {}, a network of {there} parameters; {name} has {here}",
                self.origin
            )));
        }
        match self.input.dims() {
            [_, chans, _, _] if *chans == config.in_chans => Ok(()),
            dims => Err(self.error(format!(
                "its input has shape {dims:?}; {name} takes (N, {}, H, W)",
                config.in_chans
            ))),
        }
    }
}

fn problem(name: &str, reason: String) -> Error {
    Error::Reference {
        name: name.to_owned(),
        reason,
    }
}

/// An opened file: its tensors, and its metadata as text.
struct File<'a> {
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

fn read(bytes: &[u8], name: &str) -> Result<Reference, String> {
    let not_one = |e: safetensors::SafeTensorError| format!("no safetensors file: {e}");
    let tensors = SafeTensors::deserialize(bytes).map_err(not_one)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_one)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = File { tensors, metadata };
    if file.metadata.get("format").map(String::as_str) != Some(FORMAT) {
        return Err(format!(
            "its metadata has no format {FORMAT:?}: make it with tests/verify/make_reference.py"
        ));
    }
    let overrides: RecordedOverrides = file.json("overrides")?;
    Ok(Reference {
        name: name.to_owned(),
        origin: file.origin()?,
        parameters: Some(file.json("parameters")?),
        images: file.images()?,
        input: file.input()?,
        stages: file.stages()?,
        overrides: TransformOverrides {
            input_size: overrides.input_size.map(|[_, h, w]| (h, w)),
            crop_pct: overrides.crop_pct,
            ..TransformOverrides::default()
        },
        transform: Some(file.json("data_config")?),
    })
}

impl File<'_> {
    fn text(&self, field: &str) -> Result<&str, String> {
        let found = self.metadata.get(field).map(String::as_str);
        found.ok_or_else(|| format!("its metadata has no {field:?}"))
    }

    fn json<T: DeserializeOwned>(&self, field: &str) -> Result<T, String> {
        serde_json::from_str(self.text(field)?)
            .map_err(|e| format!("{field:?} in its metadata: {e}"))
    }

    fn origin(&self) -> Result<String, String> {
        let versions: HashMap<String, String> = self.json("versions")?;
        let version = |of: &str| {
            versions
                .get(of)
                .map_or("of unknown version", String::as_str)
        };
        Ok(format!(
            "{} of timm {}, torch {}, Pillow {}",
            self.text("model")?,
            version("timm"),
            version("torch"),
            version("pillow")
        ))
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'_>, String> {
        (self.tensors.tensor(name)).map_err(|_| format!("it has no tensor {name:?}"))
    }

    fn images(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let names: Vec<String> = self.json("images")?;
        let read = |(i, name): (usize, String)| {
            let tensor = format!("image.{i}");
            let view = self.tensor(&tensor)?;
            match view.dtype() {
                Dtype::U8 => Ok((name, view.data().to_vec())),
                other => Err(format!("its tensor {tensor:?} is {other:?}, not U8")),
            }
        };
        names.into_iter().enumerate().map(read).collect()
    }

    fn input(&self) -> Result<Tensor, String> {
        let view = self.tensor("input")?;
        let shape = view.shape().to_vec();
        if shape.len() != 4 || shape.contains(&0) || view.dtype() != Dtype::F32 {
            return Err(format!(
                "its tensor \"input\" is {:?} {shape:?}, not f32 (N, C, H, W)",
                view.dtype()
            ));
        }
        let values: Vec<f32> = numbers(view.data(), f32::from_le_bytes);
        Tensor::from_vec(values, shape, &Device::Cpu).map_err(|e| e.to_string())
    }

    fn stages(&self) -> Result<Vec<Recorded>, String> {
        let names: Vec<String> = self.json("stages")?;
        let shapes: HashMap<String, Vec<usize>> = self.json("shapes")?;
        let samples: usize = self.json("stage_samples")?;
        let read = |stage: String| {
            let shape = shapes.get(&stage).cloned();
            let shape = shape.ok_or_else(|| format!("its metadata has no shape of {stage:?}"))?;
            let overflow = || format!("the shape {shape:?} of {stage:?} overflows");
            let whole = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            let whole = whole.ok_or_else(overflow)?;
            let count = if samples == 0 {
                whole
            } else {
                whole.min(samples)
            };
            Ok(Recorded {
                single: self.floats(&stage, Dtype::F32, count)?,
                double: self.floats(&format!("{stage}.f64"), Dtype::F64, count)?,
                stage,
                shape,
            })
        };
        names.into_iter().map(read).collect()
    }

    /// A tensor of so many values.
    fn floats(&self, name: &str, dtype: Dtype, count: usize) -> Result<Vec<f64>, String> {
        let view = self.tensor(name)?;
        let values: Vec<f64> = match view.dtype() {
            found if found != dtype => {
                return Err(format!("its tensor {name:?} is {found:?}, not {dtype:?}"));
            }
            Dtype::F64 => numbers(view.data(), f64::from_le_bytes),
            _ => numbers(view.data(), |four| f64::from(f32::from_le_bytes(four))),
        };
        if values.len() != count || count == 0 {
            return Err(format!(
                "its tensor {name:?} has {} values, its shape and stage_samples say {count}",
                values.len()
            ));
        }
        Ok(values)
    }
}

/// Little-endian numbers of `N` bytes each.
fn numbers<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (whole, _) = bytes.as_chunks::<N>();
    whole.iter().copied().map(read).collect()
}
