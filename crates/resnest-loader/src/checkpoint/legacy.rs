//! The layout of `torch.save` before 1.6: four pickles, a list of storage keys, then each storage as a
//! 64-bit element count and its raw bytes.

use std::collections::HashMap;
use std::sync::Arc;

use super::Content;
use super::bytes::Bytes;
use super::pickle::{self, Node, Pickle, Value};
use super::torch::{StateDict, StorageId, Storages, fault, storage_id};
use crate::error::{Error, Result};

/// `0x1950a86a20f9469cfc6c`, the number every legacy file starts with, as the pickle holds it.
const MAGIC_NUMBER: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// Reads the state dict of a legacy checkpoint.
pub(crate) fn read(bytes: &Arc<Bytes>, origin: &str) -> Result<Content> {
    let mut file = File {
        bytes,
        origin,
        at: 0,
    };
    file.preamble()?;
    let pickle = file.pickle()?;
    let keys = file.pickle()?;
    let storages = file.storages(&declared(&pickle, origin)?, &keys)?;
    StateDict {
        origin,
        pickle: &pickle,
        storages: &storages,
        bytes,
    }
    .read()
}

/// The storages the main pickle speaks of, by key.
fn declared<'a>(pickle: &Pickle<'a>, origin: &str) -> Result<HashMap<&'a str, StorageId<'a>>> {
    let format = |problem| Error::Format {
        origin: origin.into(),
        problem,
    };
    let mut found: HashMap<&str, StorageId<'_>> = HashMap::new();
    for node in &pickle.nodes {
        let Node::Persistent(id) = node else { continue };
        let id = storage_id(pickle, *id).map_err(format)?;
        match found.get(id.key) {
            Some(other) if (other.dtype, other.length) != (id.dtype, id.length) => {
                return Err(format(format!(
                    "storage '{}' is described in two ways",
                    id.key
                )));
            }
            _ => found.insert(id.key, id),
        };
    }
    Ok(found)
}

struct File<'a> {
    bytes: &'a Bytes,
    origin: &'a str,
    at: usize,
}

impl<'a> File<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn pickle(&mut self) -> Result<Pickle<'a>> {
        let pickle = pickle::read(self.rest()).map_err(|f| fault(self.origin, f))?;
        self.at += pickle.length;
        Ok(pickle)
    }

    fn format(&self, problem: impl Into<String>) -> Error {
        Error::Format {
            origin: self.origin.into(),
            problem: problem.into(),
        }
    }

    /// Magic number, protocol, and the machine it was written on.
    fn preamble(&mut self) -> Result<()> {
        let magic = self.pickle()?;
        if !matches!(magic.node(magic.root), Some(Node::BigInt(MAGIC_NUMBER))) {
            return Err(self.format("a pickle, but not one of torch.save"));
        }
        if self.pickle()?.root != Value::Int(PROTOCOL) {
            return Err(self.format(format!(
                "a legacy torch file, but not of protocol {PROTOCOL}"
            )));
        }
        let system = self.pickle()?;
        if system.get(system.root, "little_endian") == Some(Value::Bool(false)) {
            return Err(
                self.format("saved on a big-endian machine; save it again on a little-endian one")
            );
        }
        Ok(())
    }

    /// Finds each storage's bytes; the order is that of `keys`.
    fn storages(
        &mut self,
        declared: &HashMap<&str, StorageId<'_>>,
        keys: &Pickle<'_>,
    ) -> Result<Storages> {
        let Some(keys_in_order) = keys.sequence(keys.root) else {
            return Err(self.format("its list of storages is missing"));
        };
        let mut storages = Storages::new();
        for key in keys_in_order {
            let key = keys
                .str(*key)
                .ok_or_else(|| self.format("a storage's key is no text"))?;
            let id = declared
                .get(key)
                .ok_or_else(|| self.format(format!("storage '{key}' belongs to no tensor")))?;
            let at = self.storage(id)?;
            if storages.insert(key.to_string(), at).is_some() {
                return Err(self.format(format!("storage '{key}' appears twice")));
            }
        }
        match self.rest().len() {
            0 => Ok(storages),
            extra => Err(self.format(format!("{extra} bytes after the last storage"))),
        }
    }

    fn storage(&mut self, id: &StorageId<'_>) -> Result<(usize, usize)> {
        let cut = || self.format(format!("cut short in storage '{}'", id.key));
        let (count, _) = self.rest().split_first_chunk::<8>().ok_or_else(cut)?;
        let count = i64::from_le_bytes(*count);
        if usize::try_from(count) != Ok(id.length) {
            return Err(self.format(format!(
                "storage '{}' claims {count} elements, its tensors {}",
                id.key, id.length
            )));
        }
        let start = self.at + 8;
        let length = id
            .byte_length()
            .filter(|len| *len <= self.bytes.len().saturating_sub(start))
            .ok_or_else(cut)?;
        self.at = start + length;
        Ok((start, length))
    }
}
