//! A model's `config.json`, as timm writes it to the hub, in both its schemas (`timm/models/_hub.py`).

mod block_args;
mod labels;
mod model_args;
mod pretrained;

use resnest_model::ResNetConfig;
use serde_json::{Map, Value, json};

pub use labels::Labels;
pub(crate) use model_args::{apply as apply_model_args, check as check_network};
pub use pretrained::PretrainedCfg;

use crate::error::{Error, Result, nearest};
use crate::fields::{Fields, Owner};

/// The content of a `config.json`.
///
/// ```
/// use resnest_loader::ModelConfig;
/// let text = r#"{"architecture": "resnest26d", "num_classes": 2, "label_names": ["cat", "dog"],
///                "pretrained_cfg": {"input_size": [3, 256, 256], "num_classes": 1000}}"#;
/// let config = ModelConfig::parse(text, "config.json")?;
/// assert_eq!(config.pretrained.num_classes, 2); // the root's value wins
/// assert_eq!(config.network()?.num_classes, 2);
/// # Ok::<(), resnest_loader::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ModelConfig {
    /// The file, for messages.
    pub origin: String,
    /// timm's name of the network, without tag.
    pub architecture: String,
    /// Constructor arguments that differ from the architecture's own.
    pub model_args: Map<String, Value>,
    /// Everything about the weights.
    pub pretrained: PretrainedCfg,
    /// Class names, where the file has them.
    pub labels: Option<Labels>,
    /// Oddities that do not keep the model from loading.
    pub warnings: Vec<String>,
}

impl ModelConfig {
    /// Reads the text of a `config.json`; `origin` names it in messages.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field that is missing or has the wrong type.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let owner = Owner::Config { origin };
        let root: Value =
            serde_json::from_str(text).map_err(|e| owner.error("-", format!("not JSON: {e}")))?;
        let Value::Object(root) = root else {
            return Err(owner.error("-", "an object was expected"));
        };
        let root = Fields {
            map: &root,
            owner,
            path: "",
        };
        let architecture = root.string("architecture")?;
        let architecture = architecture.ok_or_else(|| root.error("architecture", "missing"))?;
        let nested = root.object("pretrained_cfg")?;
        let mut config = Self {
            origin: origin.to_string(),
            architecture: architecture
                .split('.')
                .next()
                .unwrap_or_default()
                .to_string(),
            model_args: root.object("model_args")?.cloned().unwrap_or_default(),
            pretrained: match nested {
                Some(map) => PretrainedCfg::read(&Fields {
                    map,
                    owner,
                    path: "pretrained_cfg.",
                })?,
                None => flat(&root)?,
            },
            labels: None,
            warnings: Vec::new(),
        };
        config.labels = read_labels(&root, nested)?;
        config.overlay(&root)?;
        Ok(config)
    }

    /// The root's values win over `pretrained_cfg`, and `model_args` describe the saved weights
    /// (`_parse_model_cfg`).
    fn overlay(&mut self, root: &Fields<'_>) -> Result<()> {
        if let Some(classes) = root.usize("num_classes")? {
            self.pretrained.num_classes = classes;
        }
        let args = Fields {
            map: &self.model_args,
            owner: root.owner,
            path: "model_args.",
        };
        if let Some(chans) = args.positive("in_chans")? {
            self.pretrained.input_size[0] = chans;
            if let Some(size) = &mut self.pretrained.test_input_size {
                size[0] = chans;
            }
        }
        self.warn(root);
        Ok(())
    }

    fn warn(&mut self, root: &Fields<'_>) {
        let classes = self.pretrained.num_classes;
        if let Some(last) = self.labels.as_ref().and_then(Labels::last_index)
            && last >= classes
        {
            self.warnings.push(format!(
                "{}: class {last} has a label, but there are {classes} classes",
                self.origin
            ));
        }
        let informational = root.value("global_pool").and_then(Value::as_str);
        if let (Some(pool), None) = (informational, self.model_args.get("global_pool"))
            && pool != "avg"
        {
            self.warnings.push(format!(
                "{}: global_pool \"{pool}\" at the root is informational and not in model_args; as in timm it is not applied",
                self.origin
            ));
        }
    }

    /// The network this config describes.
    ///
    /// # Errors
    /// [`Error::UnknownArchitecture`], or [`Error::Config`] naming the argument that does not fit.
    pub fn network(&self) -> Result<ResNetConfig> {
        let owner = Owner::Config {
            origin: &self.origin,
        };
        let args = Fields {
            map: &self.model_args,
            owner,
            path: "model_args.",
        };
        let mut network = architecture(&self.architecture)?;
        network.num_classes = self.pretrained.num_classes;
        network.in_chans = self.pretrained.input_size[0];
        apply_model_args(&mut network, &args)?;
        check_network(&network, &args)?;
        Ok(network)
    }

    /// The config in the nested schema, as timm would write it.
    pub fn to_json(&self) -> Value {
        let mut root = json!({
            "architecture": self.architecture,
            "num_classes": self.pretrained.num_classes,
        });
        if !self.model_args.is_empty() {
            root["model_args"] = Value::Object(self.model_args.clone());
        }
        if let Some(labels) = &self.labels {
            let (names, descriptions) = labels.to_json();
            root["label_names"] = names;
            if let Some(descriptions) = descriptions {
                root["label_descriptions"] = descriptions;
            }
        }
        root["pretrained_cfg"] = json!(self.pretrained);
        root
    }
}

/// A named architecture, or an error with the nearest names.
pub(crate) fn architecture(name: &str) -> Result<ResNetConfig> {
    ResNetConfig::by_name(name).map_err(|_| Error::UnknownArchitecture {
        name: name.to_string(),
        nearest: nearest(name, ResNetConfig::names()),
    })
}

/// The old schema: everything at the root.
fn flat(root: &Fields<'_>) -> Result<PretrainedCfg> {
    let elsewhere = [
        "architecture",
        "num_features",
        "global_pool",
        "model_args",
        "labels",
        "label_names",
        "label_descriptions",
    ];
    let map = root
        .map
        .iter()
        .filter(|(k, _)| !elsewhere.contains(&k.as_str()));
    let map: Map<String, Value> = map.map(|(k, v)| (k.clone(), v.clone())).collect();
    PretrainedCfg::read(&Fields {
        map: &map,
        owner: root.owner,
        path: "",
    })
}

/// Labels at the root win over those in `pretrained_cfg`; the old schema calls them `labels`.
fn read_labels(root: &Fields<'_>, nested: Option<&Map<String, Value>>) -> Result<Option<Labels>> {
    let labels = Labels::read(root, "label_names")?;
    if labels.is_some() {
        return Ok(labels);
    }
    match nested {
        Some(map) => Labels::read(
            &Fields {
                map,
                owner: root.owner,
                path: "pretrained_cfg.",
            },
            "label_names",
        ),
        None => Labels::read(root, "labels"),
    }
}
