//! One entry of a manifest: a set of weights and everything that goes with it.

use std::path::{Path, PathBuf};

use resnest_model::ResNetConfig;
use serde_json::{Map, Value};

use crate::config::{PretrainedCfg, apply_model_args, architecture, check_network};
use crate::error::Result;
use crate::fields::{Fields, Owner};

/// A set of weights: name, place, preparation of images, licence, size, accuracy.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// `arch.tag`, the name users give.
    pub name: String,
    /// The network's name; where the field is absent, what stands before the first dot of `name`.
    pub architecture: String,
    /// What stands after that dot.
    pub tag: Option<String>,
    /// Constructor arguments over the architecture's own, as in `config.json`.
    pub model_args: Map<String, Value>,
    /// The hub repository, `user/name`.
    pub repo: Option<String>,
    /// Its revision: a branch, tag or commit.
    pub revision: Option<String>,
    /// The weights' file names in the repository, the preferred one first.
    pub files: Vec<String>,
    /// A checkpoint on this machine instead of a repository.
    pub path: Option<PathBuf>,
    /// Where a checkpoint that is on no hub can be downloaded by hand.
    pub url: Option<String>,
    /// sha256 of the first file, in hex.
    pub sha256: Option<String>,
    /// Size of the first file in bytes.
    pub size: Option<u64>,
    /// Preparation of images, classes, licence.
    pub pretrained: PretrainedCfg,
    /// Parameters of the network.
    pub params: Option<u64>,
    /// 10⁹ multiply-accumulates at the input size.
    pub gmacs: Option<f64>,
    /// ImageNet top-1 accuracy in percent.
    pub top1: Option<f64>,
    /// ImageNet top-5 accuracy in percent.
    pub top5: Option<f64>,
    /// Top-1 accuracy on ImageNet-ReaL labels in percent.
    pub real_top1: Option<f64>,
    /// Top-1 accuracy on ImageNetV2 in percent.
    pub v2_top1: Option<f64>,
    /// Where the figures come from.
    pub source: Option<String>,
    /// The manifest that holds the entry.
    pub manifest: String,
}

/// Every field an entry may have.
const FIELDS: &[&str] = &[
    "name",
    "architecture",
    "model_args",
    "repo",
    "revision",
    "files",
    "path",
    "url",
    "sha256",
    "size",
    "license",
    "input_size",
    "test_input_size",
    "crop_pct",
    "test_crop_pct",
    "crop_mode",
    "interpolation",
    "mean",
    "std",
    "num_classes",
    "pool_size",
    "first_conv",
    "classifier",
    "params",
    "gmacs",
    "top1",
    "top5",
    "real_top1",
    "v2_top1",
    "source",
];

impl Entry {
    /// Reads an entry; `folder` is what a relative `path` starts from.
    pub(crate) fn read(
        map: &Map<String, Value>,
        file: &str,
        label: &str,
        folder: Option<&Path>,
    ) -> Result<Self> {
        let fields = Fields {
            map,
            owner: Owner::Manifest { file, entry: label },
            path: "",
        };
        known_fields(&fields, FIELDS)?;
        let name = required(&fields, "name")?;
        let (before, after) = match name.split_once('.') {
            Some((arch, tag)) => (arch.to_string(), Some(tag.to_string())),
            None => (name.clone(), None),
        };
        let mut pretrained = PretrainedCfg::read(&fields)?;
        pretrained.extra.clear();
        pretrained.tag.clone_from(&after);
        pretrained.hf_hub_id = fields.string("repo")?;
        let entry = Self {
            architecture: fields.string("architecture")?.unwrap_or(before),
            tag: after,
            model_args: fields.object("model_args")?.cloned().unwrap_or_default(),
            repo: fields.string("repo")?,
            revision: fields.string("revision")?,
            files: fields.strings("files")?.unwrap_or_else(default_files),
            path: fields
                .string("path")?
                .map(|path| folder.map_or_else(|| PathBuf::from(&path), |f| f.join(&path))),
            url: fields.string("url")?,
            sha256: fields.string("sha256")?.map(|hex| hex.to_ascii_lowercase()),
            size: fields.usize("size")?.map(|n| n as u64),
            pretrained,
            params: fields.usize("params")?.map(|n| n as u64),
            gmacs: fields.number("gmacs")?,
            top1: fields.number("top1")?,
            top5: fields.number("top5")?,
            real_top1: fields.number("real_top1")?,
            v2_top1: fields.number("v2_top1")?,
            source: fields.string("source")?,
            manifest: file.to_string(),
            name,
        };
        entry.check(&fields)?;
        Ok(entry)
    }

    fn check(&self, fields: &Fields<'_>) -> Result<()> {
        let named = |name: &str| {
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
                && !name.is_empty()
        };
        if !named(&self.name) {
            return Err(fields.error("name", "letters, digits, '.', '_' and '-' were expected"));
        }
        let places = [self.repo.is_some(), self.path.is_some(), self.url.is_some()];
        if places.into_iter().filter(|given| *given).count() != 1 {
            return Err(fields.error("repo", "exactly one of repo, path and url was expected"));
        }
        if self.files.is_empty() {
            return Err(fields.error("files", "at least one file name was expected"));
        }
        let hex = |s: &String| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit());
        if self.sha256.as_ref().is_some_and(|s| !hex(s)) {
            return Err(fields.error("sha256", "64 hex digits were expected"));
        }
        self.build(fields).map(drop)
    }

    /// Whether the licence of the weights forbids commercial use: see [`PretrainedCfg::is_non_commercial`].
    pub fn is_non_commercial(&self) -> bool {
        self.pretrained.is_non_commercial()
    }

    /// The network the entry describes.
    ///
    /// # Errors
    /// [`crate::Error::Manifest`] naming the field that does not fit.
    pub fn network(&self) -> Result<ResNetConfig> {
        let map = Map::new();
        self.build(&Fields {
            map: &map,
            owner: Owner::Manifest {
                file: &self.manifest,
                entry: &self.name,
            },
            path: "",
        })
    }

    fn build(&self, fields: &Fields<'_>) -> Result<ResNetConfig> {
        let mut network = architecture(&self.architecture)
            .map_err(|e| fields.error("architecture", e.to_string()))?;
        network.num_classes = self.pretrained.num_classes;
        network.in_chans = self.pretrained.input_size[0];
        let args = Fields {
            map: &self.model_args,
            owner: fields.owner,
            path: "model_args.",
        };
        apply_model_args(&mut network, &args)?;
        check_network(&network, &args)?;
        Ok(network)
    }
}

/// A file of the original repository, whose name gives the architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OfficialFile {
    /// The file's name.
    pub file: String,
    /// The architecture it holds.
    pub architecture: String,
    /// The first eight hex digits of its sha256.
    pub sha256_prefix: String,
}

impl OfficialFile {
    pub(crate) fn read(map: &Map<String, Value>, file: &str, label: &str) -> Result<Self> {
        let fields = Fields {
            map,
            owner: Owner::Manifest { file, entry: label },
            path: "",
        };
        known_fields(&fields, &["file", "architecture", "sha256_prefix"])?;
        let official = Self {
            file: required(&fields, "file")?,
            architecture: required(&fields, "architecture")?,
            sha256_prefix: required(&fields, "sha256_prefix")?,
        };
        architecture(&official.architecture)
            .map_err(|e| fields.error("architecture", e.to_string()))?;
        Ok(official)
    }
}

fn default_files() -> Vec<String> {
    crate::loader::HUB_FILES
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn required(fields: &Fields<'_>, name: &str) -> Result<String> {
    fields
        .string(name)?
        .ok_or_else(|| fields.error(name, "missing"))
}

fn known_fields(fields: &Fields<'_>, known: &[&str]) -> Result<()> {
    match fields.map.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let near = crate::error::nearest(key, known.iter().copied());
            let hint = near
                .first()
                .map(|n| format!("; did you mean {n}?"))
                .unwrap_or_default();
            Err(fields.error(key, format!("unknown{hint}")))
        }
    }
}
