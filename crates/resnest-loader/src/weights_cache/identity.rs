//! What is remembered of files as long as they are not written to: which checkpoint one is (the sha256 of its bytes), and
//! that one of packed weights is whole.
//!
//! To hash a checkpoint takes longer than to map its packed weights, and to look at those longer than anything else a
//! second process does. So both are written down in the cache's folder, under the file's device, inode, length, and times
//! of its last writing and change: no program sets the last of these back, so what is remembered holds until somebody
//! writes to the file.

use std::fs::File;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::folder::Folder;
use super::hex;
use crate::checkpoint::{Checkpoint, Stamp, Store};
use crate::error::Result;

/// The checkpoint's identity: of its files' bytes and of what is read from where.
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

/// Whether the file of packed weights with this key was found to be whole.
pub(super) fn is_known_whole(file: &File, key: &str, folder: &Folder) -> bool {
    let stamp = whole_stamp(file);
    let remembered = stamp.and_then(|stamp| folder.remembered(&stamp.text));
    remembered.is_some_and(|remembered| remembered == hex(&Sha256::digest(key)))
}

/// Remembers that it was, until the system is started again: from then on its bytes come from the disk once more.
pub(super) fn remember_whole(file: &File, key: &str, folder: &Folder) {
    if let Some(stamp) = whole_stamp(file).filter(|stamp| stamp.settled) {
        folder.remember(&stamp.text, &hex(&Sha256::digest(key)));
    }
}

fn whole_stamp(file: &File) -> Option<Stamp> {
    let started = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let stamp = Stamp::of(&file.metadata().ok()?)?;
    let text = format!("whole {} {started}", stamp.text);
    Some(Stamp { text, ..stamp })
}
