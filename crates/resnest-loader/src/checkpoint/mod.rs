//! Checkpoints of every format, read in place and under one roof.
//!
//! | format | recognised by | read |
//! |---|---|---|
//! | safetensors | a header length, then `{` | its header (`safetensors.rs`) |
//! | sharded | `*.index.json` | each shard in its own format |
//! | zip pickle (torch ≥ 1.6) | `PK` | its directory and its pickle |
//! | legacy pickle (torch < 1.6) | the pickle's own magic number | its pickles |
//!
//! The content decides, not the file's extension. Tensors stay in the file until each is asked for.

mod legacy;
mod pickle;
pub(crate) mod quantized;
mod safetensors;
mod shards;
mod store;
mod tensor;
mod torch;
mod zip;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use resnest_model::InputScale;
pub(crate) use shards::{count as shard_count, files as shard_files};
pub(crate) use store::{Stamp, Store};
pub use tensor::{ElementType, TensorEntry};

use crate::error::{Error, Result};

/// How a checkpoint is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointFormat {
    /// One safetensors file.
    SafeTensors,
    /// A shard index and its files.
    Sharded,
    /// `torch.save` since 1.6.
    ZipPickle,
    /// `torch.save` before 1.6.
    LegacyPickle,
}

impl std::fmt::Display for CheckpointFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SafeTensors => "safetensors",
            Self::Sharded => "sharded safetensors",
            Self::ZipPickle => "PyTorch zip pickle",
            Self::LegacyPickle => "PyTorch legacy pickle",
        })
    }
}

/// Something in a state dict that is not a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Its key.
    pub name: String,
    /// What it is, in words.
    pub what: String,
}

/// What one file holds, under the names in the file.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) tensors: Vec<TensorEntry>,
    pub(crate) strays: Vec<Stray>,
    pub(crate) wrapper: Option<String>,
    pub(crate) metadata: HashMap<String, String>,
}

/// An opened checkpoint: every tensor's name, type, shape and place, none of them copied yet.
#[derive(Debug)]
pub struct Checkpoint {
    origin: String,
    format: CheckpointFormat,
    tensors: BTreeMap<String, TensorEntry>,
    strays: Vec<Stray>,
    wrapper: Option<String>,
    prefixed: bool,
    metadata: HashMap<String, String>,
    quantization: Option<quantized::InputScales>,
}

impl Checkpoint {
    /// Opens a checkpoint file of any format, or a shard index.
    ///
    /// # Errors
    /// Each way a file can be unreadable, lie, or try to run code has its own [`Error`] variant.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let origin = path.display().to_string();
        if path.to_string_lossy().ends_with(".json") {
            return Self::build(origin, CheckpointFormat::Sharded, shards::read(path)?);
        }
        let (format, content) = read_file(path, &origin)?;
        Self::build(origin, format, content)
    }

    /// Reads a checkpoint that is already in memory, such as one embedded with `include_bytes!`.
    /// `origin` names it in messages.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>, origin: &str) -> Result<Self> {
        let (format, content) = read_store(Store::memory(bytes.into(), origin))?;
        Self::build(origin.to_string(), format, content)
    }

    /// Removes wrapper prefixes as timm does and refuses names that then meet.
    fn build(origin: String, format: CheckpointFormat, content: Content) -> Result<Self> {
        let mut tensors: BTreeMap<String, TensorEntry> = BTreeMap::new();
        let mut original: HashMap<String, String> = HashMap::new();
        let mut prefixed = false;
        for mut tensor in content.tensors {
            let name = clean(&tensor.name).to_string();
            prefixed |= name != tensor.name;
            if let Some(first) = original.insert(name.clone(), tensor.name.clone()) {
                return Err(Error::Duplicate {
                    origin,
                    tensor: name,
                    first,
                    second: tensor.name,
                });
            }
            tensor.name.clone_from(&name);
            tensors.insert(name, tensor);
        }
        let Content {
            strays,
            wrapper,
            metadata,
            ..
        } = content;
        let quantization = quantized::take(&origin, format, &metadata, &mut tensors)?;
        Ok(Self {
            origin,
            format,
            tensors,
            strays,
            wrapper,
            prefixed,
            metadata,
            quantization,
        })
    }

    /// The file, or the name given to the bytes.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How it is laid out.
    pub fn format(&self) -> CheckpointFormat {
        self.format
    }

    /// The wrapper the state dict was taken from (`state_dict_ema`, ...), if any.
    pub fn wrapper(&self) -> Option<&str> {
        self.wrapper.as_deref()
    }

    /// Whether `module.` or `_orig_mod.` was removed from names.
    pub fn had_prefixes(&self) -> bool {
        self.prefixed
    }

    /// A safetensors file's `__metadata__`.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// How the inputs of convolutions are quantised, under the convolutions' names, in a checkpoint that `resnest quantize`
    /// made; `None` in any other. Its 8-bit weights are among the [tensors](Self::tensors), their scales are not.
    pub fn quantization(&self) -> Option<&Arc<BTreeMap<String, InputScale>>> {
        self.quantization.as_ref()
    }

    /// The `config.json` that a checkpoint made by `resnest quantize` brings along.
    pub(crate) fn own_config(&self) -> Option<&str> {
        self.quantization.as_ref()?;
        self.metadata.get("config").map(String::as_str)
    }

    /// All tensors, by name in order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorEntry> {
        self.tensors.values()
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.get(name)
    }

    /// Entries of the state dict that are no tensors.
    pub fn strays(&self) -> &[Stray] {
        &self.strays
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor at all.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}

/// Whether the bytes begin with a whole pickle; for tests that make them up.
pub(crate) fn pickle_ends(bytes: &[u8]) -> bool {
    pickle::read(bytes).is_ok()
}

/// timm's `clean_state_dict`: the wrappers of DDP and torch.compile, in either order.
fn clean(name: &str) -> &str {
    ["_orig_mod.", "module.", "_orig_mod."]
        .iter()
        .fold(name, |name, prefix| {
            name.strip_prefix(prefix).unwrap_or(name)
        })
}

/// Bytes from which a format is recognised.
const SNIFFED: usize = 64;

/// Opens one file and reads what describes its tensors.
pub(crate) fn read_file(path: &Path, origin: &str) -> Result<(CheckpointFormat, Content)> {
    read_store(Store::open(path, origin)?)
}

fn read_store(store: Store) -> Result<(CheckpointFormat, Content)> {
    let format = sniff(&store.head(SNIFFED)?, store.origin())?;
    let store = Arc::new(store);
    let content = match format {
        CheckpointFormat::ZipPickle => zip::read(&store)?,
        CheckpointFormat::LegacyPickle => legacy::read(&store)?,
        CheckpointFormat::SafeTensors | CheckpointFormat::Sharded => read_safetensors(store)?,
    };
    Ok((format, content))
}

fn read_safetensors(store: Arc<Store>) -> Result<Content> {
    let problem = |problem| Error::Header {
        origin: store.origin().into(),
        problem,
    };
    let head = store.head(safetensors::LENGTH_BYTES)?;
    let prefix = head.first_chunk();
    let prefix = prefix.ok_or_else(|| problem("cut short".into()))?;
    let length = safetensors::header_length(*prefix, store.len() as u64).map_err(problem)?;
    let range = safetensors::LENGTH_BYTES..safetensors::LENGTH_BYTES + length;
    let json = store.read(range, "its header")?;
    let header = safetensors::parse(&json, store.len() as u64).map_err(problem)?;
    drop((head, json));
    Ok(from_header(header, store))
}

fn from_header(header: safetensors::Header, store: Arc<Store>) -> Content {
    let tensors = header
        .tensors
        .into_iter()
        .map(|t| TensorEntry {
            name: t.name,
            dtype: t.dtype,
            shape: t.shape,
            strides: None,
            start: t.start,
            store: Arc::clone(&store),
            scales: None,
        })
        .collect();
    Content {
        tensors,
        metadata: header.metadata,
        ..Content::default()
    }
}

/// Recognises the format by a file's first bytes, and names what is often mistaken for a checkpoint.
fn sniff(start: &[u8], origin: &str) -> Result<CheckpointFormat> {
    // first, because a header length of 640 bytes begins like a pickle
    if start.get(safetensors::LENGTH_BYTES) == Some(&b'{') {
        return Ok(CheckpointFormat::SafeTensors);
    }
    if start.starts_with(zip::MAGIC) {
        return Ok(CheckpointFormat::ZipPickle);
    }
    if matches!(start, [0x80, 2..=5, ..]) {
        return Ok(CheckpointFormat::LegacyPickle);
    }
    // the reference implementation reads a header with blanks in front, though none is written so
    let header = start.get(safetensors::LENGTH_BYTES..).unwrap_or_default();
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    if header.iter().find(|byte| !blank(byte)) == Some(&b'{') {
        return Ok(CheckpointFormat::SafeTensors);
    }
    let problem = match start {
        [] => "the file is empty",
        s if s.starts_with(b"version https://git-lfs") => {
            "a Git LFS pointer; fetch the file itself with `git lfs pull`"
        }
        s if s.starts_with(b"<") => "an HTML or XML page, probably a failed download",
        s if s.starts_with(b"{") => "JSON text; a shard index must be named *.index.json",
        s if s.starts_with(b"\x93NUMPY") => "a NumPy array",
        s if s.starts_with(b"\x1f\x8b") => "gzip data; unpack it first",
        _ => "neither safetensors nor a file of torch.save",
    };
    Err(Error::Format {
        origin: origin.into(),
        problem: problem.into(),
    })
}
