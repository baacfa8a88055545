//! A file of packed weights that is there.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use resnest_model::{
    Error as ModelError, MappedLayer, MappedWeights, PackedConv, PackedStore, parallel_map,
};

use super::folder::Folder;
use super::format::{self, Layer, checksum};
use super::{Key, identity};

/// A file with the weights of one network, mapped. Every byte was found to be what was written, by this process or, since
/// the system was started and the file was last written to, by another.
#[derive(Debug)]
pub(crate) struct Entry {
    weights: Arc<MappedWeights>,
    layers: HashMap<String, Range<usize>>,
}

impl Entry {
    /// The entry of this key: `None` if it is not there, or not right in any way.
    pub(super) fn open(folder: &Folder, key: &Key) -> Option<Arc<Self>> {
        let file = folder.trusted(&key.name)?;
        // SAFETY: a file of the folder is written under another name, and given its own when it is whole; from then on
        // nobody writes to it or cuts it short (the folder is writable for this user and root alone).
        #[allow(unsafe_code, reason = "the one mapping of a file")]
        let weights = unsafe { MappedWeights::map(&file) }.ok()?;
        let (found, layers) = format::parse(weights.bytes()).ok()?;
        if found != key.text {
            return None;
        }
        if !identity::is_known_whole(&file, &key.text, folder) {
            if !are_whole(weights.bytes(), &layers) {
                return None;
            }
            identity::remember_whole(&file, &key.text, folder);
        }
        let layers = layers.into_iter().map(|layer| (layer.name, layer.bytes));
        Some(Arc::new(Self {
            weights,
            layers: layers.collect(),
        }))
    }

    /// Whether a tensor of this name is a layer's weight or bias, which the file has packed.
    pub(crate) fn has_packed(&self, tensor: &str) -> bool {
        let layer = tensor
            .strip_suffix(".weight")
            .or_else(|| tensor.strip_suffix(".bias"));
        layer.is_some_and(|layer| self.layers.contains_key(layer))
    }
}

/// Whether every layer is what was written.
fn are_whole(file: &[u8], layers: &[Layer]) -> bool {
    let whole = parallel_map(layers.len(), |index| {
        layers.get(index).is_some_and(|layer| {
            let bytes = file.get(layer.bytes.clone());
            bytes.is_some_and(|bytes| checksum(bytes) == layer.checksum)
        })
    });
    !whole.contains(&false)
}

impl PackedStore for Entry {
    fn packed(&self, layer: &str) -> resnest_model::Result<Option<MappedLayer>> {
        let bytes = self.layers.get(layer);
        let mapped = bytes.and_then(|bytes| MappedLayer::new(&self.weights, bytes.clone()));
        match mapped {
            Some(mapped) => Ok(Some(mapped)),
            None => Err(ModelError::Fuse {
                path: layer.to_owned(),
                reason: "the file of packed weights lacks it".to_owned(),
            }),
        }
    }

    fn keep(&self, _: &str, _: &PackedConv) {}
}
