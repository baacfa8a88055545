//! The layout of `torch.save` before 1.6: four pickles, a list of storage keys, then each storage as a
//! 64-bit element count and its raw bytes.

use std::collections::HashMap;
use std::sync::Arc;

use super::Content;
use super::pickle::{self, Fault, Node, Pickle, Value};
use super::store::Store;
use super::torch::{StateDict, StorageId, Storages, fault, storage_id};
use crate::error::{Error, Result};

/// `0x1950a86a20f9469cfc6c`, the number every legacy file starts with, as the pickle holds it.
const MAGIC_NUMBER: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;
/// How many bytes are searched for the pickles at first: where a pickle ends shows only as it is read.
const WINDOW: usize = 1 << 20;

/// Why the beginning of a file could not be read.
enum Stop {
    /// It ends within a pickle; more of the file may hold the rest.
    Short(Error),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads the state dict of a legacy checkpoint.
pub(crate) fn read(store: &Arc<Store>) -> Result<Content> {
    let mut window = WINDOW;
    loop {
        let head = store.head(window)?;
        match read_head(store, &head) {
            Ok(content) => return Ok(content),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Short(error)) if head.len() == store.len() => return Err(error),
            Err(Stop::Short(_)) if window >= pickle::MAX_BYTES => {
                let problem = format!(
                    "its pickles take more than {} bytes, which are refused",
                    pickle::MAX_BYTES
                );
                return Err(Error::Format {
                    origin: store.origin().into(),
                    problem,
                });
            }
            Err(Stop::Short(_)) => window *= 4,
        }
    }
}

fn read_head(store: &Arc<Store>, head: &[u8]) -> std::result::Result<Content, Stop> {
    let mut file = File { store, head, at: 0 };
    file.preamble()?;
    let pickle = file.pickle()?;
    let keys = file.pickle()?;
    let storages = file.storages(&declared(&pickle, store.origin())?, &keys)?;
    let dict = StateDict {
        pickle: &pickle,
        storages: &storages,
        store,
    };
    Ok(dict.read()?)
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

/// The pickles in `head`, and the storages behind them.
struct File<'a> {
    store: &'a Store,
    head: &'a [u8],
    at: usize,
}

impl<'a> File<'a> {
    fn pickle(&mut self) -> std::result::Result<Pickle<'a>, Stop> {
        let rest = self.head.get(self.at..).unwrap_or_default();
        let pickle = pickle::read(rest).map_err(|stopped| {
            let short = matches!(stopped, Fault::Short { .. });
            let error = fault(self.store.origin(), stopped);
            match short {
                true => Stop::Short(error),
                false => Stop::Failed(error),
            }
        })?;
        self.at += pickle.length;
        Ok(pickle)
    }

    fn format(&self, problem: impl Into<String>) -> Error {
        Error::Format {
            origin: self.store.origin().into(),
            problem: problem.into(),
        }
    }

    /// Magic number, protocol, and the machine it was written on.
    fn preamble(&mut self) -> std::result::Result<(), Stop> {
        let magic = self.pickle()?;
        if !matches!(magic.node(magic.root), Some(Node::BigInt(MAGIC_NUMBER))) {
            return Err(self.format("a pickle, but not one of torch.save").into());
        }
        if self.pickle()?.root != Value::Int(PROTOCOL) {
            let problem = format!("a legacy torch file, but not of protocol {PROTOCOL}");
            return Err(self.format(problem).into());
        }
        let system = self.pickle()?;
        if system.get(system.root, "little_endian") == Some(Value::Bool(false)) {
            let problem = "saved on a big-endian machine; save it again on a little-endian one";
            return Err(self.format(problem).into());
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
        match self.store.len().saturating_sub(self.at) {
            0 => Ok(storages),
            extra => Err(self.format(format!("{extra} bytes after the last storage"))),
        }
    }

    /// First byte and length of the storage that comes next.
    fn storage(&mut self, id: &StorageId<'_>) -> Result<(usize, usize)> {
        let cut = || self.format(format!("cut short in storage '{}'", id.key));
        let start = self.at.saturating_add(8);
        if start > self.store.len() {
            return Err(cut());
        }
        let count = self.store.read(self.at..start, id.key)?;
        let count = count.first_chunk::<8>().ok_or_else(cut)?;
        let count = i64::from_le_bytes(*count);
        if usize::try_from(count) != Ok(id.length) {
            return Err(self.format(format!(
                "storage '{}' claims {count} elements, its tensors {}",
                id.key, id.length
            )));
        }
        let length = id
            .byte_length()
            .filter(|len| *len <= self.store.len().saturating_sub(start))
            .ok_or_else(cut)?;
        self.at = start + length;
        Ok((start, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recorded file whose third pickle, on the machine, is made longer than any first look.
    #[test]
    fn pickles_longer_than_a_first_look_are_read() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/checkpoints/fixtures/mini_legacy.pth"
        );
        let good = std::fs::read(path).unwrap();
        let mut at = 0;
        let mut pickle = || {
            let start = at;
            at += pickle::read(&good[at..]).unwrap().length;
            start..at
        };
        let third = [pickle(), pickle(), pickle()][2].clone();
        let padding = vec![b'x'; 3 * WINDOW];
        let mut bytes = good[..third.start].to_vec();
        bytes.extend(b"\x80\x02}X\x01\x00\x00\x00pX");
        bytes.extend((padding.len() as u32).to_le_bytes());
        bytes.extend(padding);
        bytes.extend(b"s.");
        bytes.extend(&good[third.end..]);
        let read = |bytes: &[u8]| {
            let store = Arc::new(Store::memory(bytes.to_vec().into(), "test"));
            read(&store).map(|content| {
                let tensors = content.tensors.iter();
                tensors
                    .map(|t| (t.name.clone(), t.to_f32().unwrap()))
                    .collect::<Vec<_>>()
            })
        };
        let wanted = read(&good).unwrap();
        assert!(!wanted.is_empty());
        assert_eq!(read(&bytes).unwrap(), wanted);
        let cut = read(&bytes[..bytes.len() / 2]).unwrap_err();
        assert!(cut.to_string().contains("cut short"), "{cut}");
    }
}
