//! Each kind of source, brought to one description.

use std::io::Read;
use std::path::{Path, PathBuf};

use resnest_model::ResNetConfig;
use serde_json::Map;

use super::fetch::in_cache;
use super::{HUB_FILES, Loader, Overrides, Resolved, Weights};
use crate::adapt::HeadPolicy;
use crate::checkpoint::Checkpoint;
use crate::config::{ModelConfig, PretrainedCfg, architecture, check_network};
use crate::error::{Error, Result};
use crate::fields::{Fields, Owner};
use crate::manifest::Entry;
use crate::source::ModelSource;

/// Weights in a folder, the preferred one first (`_hub.py`, `_PREFERRED_FILES`; the shard index is ours).
const FOLDER_FILES: [&str; 5] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
];
/// Then the first file by name of the first ending that has any (`_EXT_PRIORITY`).
const FOLDER_ENDINGS: [&str; 4] = [".safetensors", ".pth", ".pth.tar", ".bin"];
/// A `config.json` is a few kilobytes; with labels and descriptions a megabyte.
const MAX_CONFIG: u64 = 64 << 20;

impl Loader {
    pub(super) fn named(&self, name: &str, overrides: &Overrides) -> Result<Resolved> {
        let found = self
            .manifest
            .find(name)
            .map_err(|e| without_weights(name, e))?;
        let mut resolved = from_entry(found.entry)?;
        if let Some(old) = found.alias {
            resolved
                .warnings
                .push(format!("'{old}' is an old name of {}", resolved.name));
        }
        if let (Weights::Hub { revision, .. }, Some(asked)) =
            (&mut resolved.weights, &overrides.revision)
        {
            *revision = Some(asked.clone());
        }
        Ok(resolved)
    }

    pub(super) fn repository(&self, repo: &str, revision: Option<&str>) -> Result<Resolved> {
        let located = self.hub.locate(repo, revision, "config.json")?;
        let text = read_config(&located.path).map_err(|error| in_cache(error, &located.path))?;
        let config = ModelConfig::parse(&text, &format!("{repo}/config.json"))
            .map_err(|error| in_cache(error, &located.path))?;
        let files = match &config.pretrained.hf_hub_filename {
            Some(file) => vec![file.clone()],
            None => HUB_FILES.iter().map(ToString::to_string).collect(),
        };
        // weights of the commit the config is of, even if the branch moves on in between
        let weights = Weights::Hub {
            repo: repo.to_string(),
            revision: Some(located.commit),
            files,
            sha256: None,
        };
        let mut resolved = from_config(config, repo.to_string(), weights)?;
        resolved.warnings.extend(located.warning);
        Ok(resolved)
    }

    /// A checkpoint file. `name`, of any source's grammar, gives everything but the weights, unless the file is one of
    /// `resnest quantize`, which describes itself.
    pub(super) fn file(
        &self,
        path: &Path,
        name: Option<&str>,
        overrides: &Overrides,
    ) -> Result<Resolved> {
        // A quantised checkpoint knows its network, and what was quantised; only a config of the user's goes before that.
        let elsewhere = name.is_some_and(|name| name.contains(':'));
        if !elsewhere && let Some(resolved) = described_by_itself(path)? {
            return Ok(resolved);
        }
        let official = self
            .manifest
            .official(path)
            .map(|o| o.architecture.as_str());
        let name = name.or(official).ok_or_else(|| Error::Source {
            name: path.display().to_string(),
            problem: "a checkpoint file needs the name of its architecture, such as resnest50d"
                .into(),
        })?;
        let mut resolved = match name.parse()? {
            ModelSource::Named(name) => match self.named(&name, overrides) {
                Ok(resolved) => resolved,
                Err(e) => bare(&name).map_err(|_| e)?,
            },
            ModelSource::Hub { repo, revision } => self.repository(&repo, revision.as_deref())?,
            ModelSource::LocalDir(folder) => {
                folder_config(&folder, Weights::File(path.to_path_buf()))?
            }
            ModelSource::File { path, .. } => {
                return Err(Error::Source {
                    name: path.display().to_string(),
                    problem: "not an architecture".into(),
                });
            }
        };
        resolved.weights = Weights::File(path.to_path_buf());
        Ok(resolved)
    }
}

/// What a checkpoint of `resnest quantize` says of itself; `None` for any other, and for what cannot be opened: that is an
/// error when it is to be read.
fn described_by_itself(path: &Path) -> Result<Option<Resolved>> {
    if path
        .extension()
        .is_none_or(|ending| ending != "safetensors")
    {
        return Ok(None);
    }
    let Ok(checkpoint) = Checkpoint::open(path) else {
        return Ok(None);
    };
    let Some(text) = checkpoint.own_config() else {
        return Ok(None);
    };
    let place = path.display().to_string();
    let config = ModelConfig::parse(text, &format!("{place}: its metadata's config"))?;
    let mut resolved = from_config(config, place, Weights::File(path.to_path_buf()))?;
    resolved.name = resolved.tagged_name();
    Ok(Some(resolved))
}

/// An architecture that exists but has no entry needs a checkpoint, not another spelling.
fn without_weights(name: &str, error: Error) -> Error {
    match (&error, ResNetConfig::by_name(name)) {
        (Error::UnknownModel { .. }, Ok(_)) => Error::Source {
            name: name.to_string(),
            problem: "the architecture is known, but no pretrained weights of it are; give a checkpoint file".into(),
        },
        _ => error,
    }
}

fn from_entry(entry: &Entry) -> Result<Resolved> {
    let weights = match (&entry.path, &entry.url, &entry.repo) {
        (Some(path), ..) => Weights::File(path.clone()),
        (None, Some(url), _) => Weights::Url(url.clone()),
        (None, None, repo) => Weights::Hub {
            repo: repo.clone().unwrap_or_default(),
            revision: entry.revision.clone(),
            files: entry.files.clone(),
            sha256: entry.sha256.clone(),
        },
    };
    Ok(Resolved {
        name: entry.name.clone(),
        architecture: entry.architecture.clone(),
        model_args: entry.model_args.clone(),
        config: entry.network()?,
        pretrained: entry.pretrained.clone(),
        labels: None,
        weights,
        head: HeadPolicy::Strict,
        warnings: Vec::new(),
        model_config: None,
    })
}

/// An architecture without an entry: timm's ResNeSt defaults.
fn bare(name: &str) -> Result<Resolved> {
    let pretrained = PretrainedCfg {
        interpolation: "bilinear".into(),
        ..PretrainedCfg::default()
    };
    Ok(Resolved {
        name: name.to_string(),
        architecture: name.to_string(),
        model_args: Map::new(),
        config: architecture(name)?,
        pretrained,
        labels: None,
        weights: Weights::File(PathBuf::new()),
        head: HeadPolicy::Strict,
        warnings: Vec::new(),
        model_config: None,
    })
}

/// A model that came with a `config.json`.
pub(super) fn from_config(config: ModelConfig, name: String, weights: Weights) -> Result<Resolved> {
    Ok(Resolved {
        name,
        architecture: config.architecture.clone(),
        model_args: config.model_args.clone(),
        config: config.network()?,
        pretrained: config.pretrained.clone(),
        labels: config.labels.clone(),
        weights,
        head: HeadPolicy::Strict,
        warnings: config.warnings.clone(),
        model_config: Some(config),
    })
}

pub(super) fn folder(path: &Path) -> Result<Resolved> {
    let weights = folder_weights(path)?;
    folder_config(path, Weights::File(weights))
}

fn folder_config(path: &Path, weights: Weights) -> Result<Resolved> {
    let file = path.join("config.json");
    let config = ModelConfig::parse(&read_config(&file)?, &file.display().to_string())?;
    from_config(config, path.display().to_string(), weights)
}

fn read_config(path: &Path) -> Result<String> {
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let bytes = read_limited(path, MAX_CONFIG).map_err(io)?;
    let owner = path.display().to_string();
    let owner = Owner::Config { origin: &owner };
    let bytes = bytes.ok_or_else(|| {
        owner.error(
            "-",
            format!("more than {MAX_CONFIG} bytes, which are refused"),
        )
    })?;
    String::from_utf8(bytes).map_err(|e| owner.error("-", format!("not UTF-8: {e}")))
}

/// A file's bytes, or `None` if there are more than `most`: whatever length the system reports (a device has
/// none, and no end).
pub(crate) fn read_limited(path: &Path, most: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

fn folder_weights(folder: &Path) -> Result<PathBuf> {
    let preferred = FOLDER_FILES
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.exists());
    if let Some(path) = preferred {
        return Ok(path);
    }
    let io = |source| Error::Io {
        path: folder.to_path_buf(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        names.extend(entry.map_err(io)?.file_name().into_string());
    }
    names.sort();
    let by_ending = |ending: &&str| names.iter().find(|name| name.ends_with(*ending));
    let found = FOLDER_ENDINGS
        .iter()
        .find_map(by_ending)
        .ok_or_else(|| Error::NoWeights {
            place: folder.display().to_string(),
            looked_for: FOLDER_FILES
                .iter()
                .map(ToString::to_string)
                .chain(FOLDER_ENDINGS.map(|e| format!("*{e}")))
                .collect(),
        })?;
    Ok(folder.join(found))
}

/// Lays the overrides over the network and sees that it can still be built.
pub(super) fn apply(resolved: &mut Resolved, overrides: &Overrides) -> Result<()> {
    let config = &mut resolved.config;
    overrides.apply(config);
    resolved.head = overrides.head;
    if config.num_classes != resolved.pretrained.num_classes {
        resolved.labels = None; // they name the checkpoint's classes
    }
    let map = Map::new();
    check_network(
        config,
        &Fields {
            map: &map,
            owner: Owner::Config {
                origin: &resolved.name,
            },
            path: "",
        },
    )
}
