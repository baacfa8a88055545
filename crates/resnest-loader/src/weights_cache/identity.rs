//! Which checkpoint it is: the sha256 of its files, remembered as long as they are not written to.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::folder::Folder;
use super::hex;
use crate::checkpoint::{Checkpoint, Store};
use crate::error::Result;

/// The checkpoint's identity: of its files' bytes and of what is read from where.
///
/// To hash a file takes longer than to map its packed weights. So the hash is remembered in the cache's folder, under the
/// file's device, inode, length, and times of its last change, which no program sets back: it holds until somebody
/// writes to the file.
///
/// # Errors
/// Those of reading the files.
pub(super) fn of(checkpoint: &Checkpoint, folder: &Folder) -> Result<String> {
    let mut stores: Vec<&Arc<Store>> = Vec::new();
    let mut whole = Sha256::new();
    for tensor in checkpoint.tensors() {
        let known = stores
            .iter()
            .position(|store| Arc::ptr_eq(store, &tensor.store));
        let index = known.unwrap_or_else(|| {
            stores.push(&tensor.store);
            stores.len() - 1
        });
        whole.update(format!("{} {index} {}\n", tensor.name, tensor.start));
    }
    for store in stores {
        whole.update(sha256(store, folder)?);
    }
    Ok(hex(&whole.finalize()))
}

/// The sha256 of a file's bytes in hex, from memory if it is remembered.
fn sha256(store: &Store, folder: &Folder) -> Result<String> {
    let stamp = store.stamp();
    let remembered = stamp
        .as_ref()
        .and_then(|stamp| folder.remembered(&stamp.text));
    if let Some(sha256) = remembered {
        return Ok(sha256);
    }
    let mut hasher = Sha256::new();
    store.pieces(0..store.len(), "all of it", |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    let sha256 = hex(&hasher.finalize());
    // A file that is written to again within the clock's next tick may keep its times.
    if let Some(stamp) = stamp.filter(|stamp| stamp.settled) {
        folder.remember(&stamp.text, &sha256);
    }
    Ok(sha256)
}
