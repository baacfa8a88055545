//! `PretrainedCfg`: what goes with a set of weights besides the network (`timm/models/_pretrained.py`).

use resnest_model::ResNetConfig;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::fields::Fields;

/// How images are prepared for a set of weights, and what its head means. timm's names and defaults.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PretrainedCfg {
    /// The tag, as `in1k` in `resnest50d.in1k`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Channels, height, width the weights are meant for.
    pub input_size: [usize; 3],
    /// Another size recommended at test time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_input_size: Option<[usize; 3]>,
    /// Whether the network takes no other size. Residual networks always do.
    pub fixed_input_size: bool,
    /// The resize filter: nearest, bilinear, bicubic, box, hamming or lanczos.
    pub interpolation: String,
    /// Share of the resized short edge that the crop keeps.
    pub crop_pct: f64,
    /// Another share recommended with `test_input_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_crop_pct: Option<f64>,
    /// center, squash or border.
    pub crop_mode: String,
    /// Subtracted from each channel, of values from 0 to 1.
    pub mean: Vec<f64>,
    /// What each channel is divided by.
    pub std: Vec<f64>,
    /// Classes of the checkpoint's head.
    pub num_classes: usize,
    /// Height and width of the last feature map at `input_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_size: Option<[usize; 2]>,
    /// Name of the first convolution, without `.weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_conv: Option<String>,
    /// Name of the classifier, without `.weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier: Option<String>,
    /// The licence of the weights, as an SPDX-like word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The repository the weights come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hf_hub_id: Option<String>,
    /// The file in that repository, where it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hf_hub_filename: Option<String>,
    /// Every other field, kept as it was.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Default for PretrainedCfg {
    fn default() -> Self {
        Self {
            tag: None,
            input_size: [3, 224, 224],
            test_input_size: None,
            fixed_input_size: false,
            interpolation: "bicubic".into(),
            crop_pct: 0.875,
            test_crop_pct: None,
            crop_mode: "center".into(),
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            num_classes: 1000,
            pool_size: None,
            first_conv: None,
            classifier: None,
            license: None,
            hf_hub_id: None,
            hf_hub_filename: None,
            extra: Map::new(),
        }
    }
}

/// Fields read into the struct, or read elsewhere; the rest goes to `extra`.
const KNOWN: &[&str] = &[
    "tag",
    "input_size",
    "test_input_size",
    "fixed_input_size",
    "interpolation",
    "crop_pct",
    "test_crop_pct",
    "crop_mode",
    "mean",
    "std",
    "num_classes",
    "pool_size",
    "first_conv",
    "classifier",
    "license",
    "hf_hub_id",
    "hf_hub_filename",
    "label_names",
    "label_descriptions",
];

impl PretrainedCfg {
    /// Reads the fields that are there over the defaults.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self> {
        let default = Self::default();
        let cfg = Self {
            tag: fields.string("tag")?,
            input_size: fields.sizes("input_size")?.unwrap_or(default.input_size),
            test_input_size: fields.sizes("test_input_size")?,
            fixed_input_size: fields.bool("fixed_input_size")?.unwrap_or(false),
            interpolation: fields
                .string("interpolation")?
                .unwrap_or(default.interpolation),
            crop_pct: fields.number("crop_pct")?.unwrap_or(default.crop_pct),
            test_crop_pct: fields.number("test_crop_pct")?,
            crop_mode: fields.string("crop_mode")?.unwrap_or(default.crop_mode),
            mean: fields.numbers("mean")?.unwrap_or(default.mean),
            std: fields.numbers("std")?.unwrap_or(default.std),
            num_classes: fields.usize("num_classes")?.unwrap_or(default.num_classes),
            pool_size: fields.sizes("pool_size")?,
            first_conv: first(fields.strings("first_conv")?),
            classifier: first(fields.strings("classifier")?),
            license: fields.string("license")?,
            hf_hub_id: fields.string("hf_hub_id")?,
            hf_hub_filename: fields.string("hf_hub_filename")?,
            extra: fields
                .map
                .iter()
                .filter(|(k, _)| !KNOWN.contains(&k.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        };
        cfg.check(fields)?;
        Ok(cfg)
    }

    /// Refuses values no image could be prepared with, and what would change the weights unseen.
    fn check(&self, fields: &Fields<'_>) -> Result<()> {
        for (name, value) in [
            ("crop_pct", Some(self.crop_pct)),
            ("test_crop_pct", self.test_crop_pct),
        ] {
            if value.is_some_and(|v| !(0.01..=100.0).contains(&v)) {
                return Err(fields.error(name, "a share above 0 was expected, such as 0.875"));
            }
        }
        if self.input_size.iter().any(|n| *n > 1 << 16) {
            return Err(fields.error(
                "input_size",
                format!("{:?} is beyond any image", self.input_size),
            ));
        }
        if self.mean.is_empty() || self.mean.len() != self.std.len() {
            return Err(fields.error("std", "mean and std must have one value for each channel"));
        }
        if self.std.iter().any(|s| *s <= 0.0) {
            return Err(fields.error("std", "every value must be above 0"));
        }
        let truthy =
            |v: &Value| !matches!(v, Value::Null | Value::Bool(false)) && v.as_f64() != Some(0.0);
        for name in ["custom_load", "label_offset"] {
            if self.extra.get(name).is_some_and(truthy) {
                return Err(fields.error(
                    name,
                    "weights in a foreign layout are not supported; convert them with timm",
                ));
            }
        }
        Ok(())
    }

    /// Whether the licence of the weights forbids commercial use (Creative Commons' NC).
    pub fn is_non_commercial(&self) -> bool {
        let licence = self.license.as_deref().unwrap_or_default();
        licence
            .to_ascii_lowercase()
            .split('-')
            .any(|word| word == "nc")
    }

    /// The classifier's name in the checkpoint of such a network.
    pub(crate) fn classifier_name(&self, network: &ResNetConfig) -> &str {
        self.classifier.as_deref().unwrap_or(network.classifier())
    }
}

fn first(names: Option<Vec<String>>) -> Option<String> {
    names.and_then(|names| names.into_iter().next())
}
