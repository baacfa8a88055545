//! The parsers of what comes from outside, each as a function of bytes that must end and must not panic.
//! For `fuzz/` and the tests that mutate files; not part of the crate's interface.

use crate::checkpoint::{pickle_ends, shard_count};
use crate::{Checkpoint, Manifest, ModelConfig};

/// A checkpoint of whatever format the bytes begin like: its tensors are read, too. Whether it could be opened.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let Ok(checkpoint) = Checkpoint::from_bytes(bytes.to_vec(), "fuzz") else {
        return false;
    };
    for tensor in checkpoint.tensors().filter(|t| t.elements() <= bytes.len()) {
        let _ = tensor.to_f32();
    }
    true
}

/// A safetensors header; the length field in front of it is written here, so that it fits.
pub fn safetensors_header(json: &[u8]) -> bool {
    let length = (json.len() as u64).to_le_bytes();
    checkpoint(&[&length, json].concat())
}

/// One pickle, without the file around it.
pub fn pickle(bytes: &[u8]) -> bool {
    pickle_ends(bytes)
}

/// A `model.safetensors.index.json`.
pub fn shard_index(bytes: &[u8]) -> bool {
    shard_count(bytes).is_ok()
}

/// A `config.json`, and the network that it describes.
pub fn config_json(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    ModelConfig::parse(&text, "fuzz").is_ok_and(|config| {
        let _ = config.to_json();
        config.network().is_ok()
    })
}

/// A user's manifest.
pub fn manifest(bytes: &[u8]) -> bool {
    Manifest::parse(&String::from_utf8_lossy(bytes), "fuzz", None).is_ok()
}
