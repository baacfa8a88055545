//! Checkpoints: safetensors against the crate of that name, pickles against themselves.

use ::safetensors::{Dtype, SafeTensors};
use resnest_loader::{Checkpoint, CheckpointFormat, ElementType};

/// Reads every tensor that is listed; a read may fail, by an error.
fn read_all(checkpoint: &Checkpoint) {
    for tensor in checkpoint.tensors() {
        if let Ok(values) = tensor.to_f32() {
            assert_eq!(values.len(), tensor.elements(), "{}", tensor.name());
        }
    }
}

/// A safetensors file: what the reference refuses is refused, what it reads has the same names, shapes and values.
pub fn safetensors(data: &[u8]) {
    let reference = SafeTensors::deserialize(data);
    let Ok(ours) = Checkpoint::from_bytes(data.to_vec(), "fuzz.safetensors") else {
        return;
    };
    if ours.format() != CheckpointFormat::SafeTensors {
        return;
    }
    let reference = reference.expect("the reference reads what is read here");
    for tensor in ours.tensors() {
        let suffix = format!(".{}", tensor.name());
        let view = reference.tensor(tensor.name()).ok().or_else(|| {
            // a wrapper's prefix was taken off
            let all = reference.tensors();
            all.into_iter()
                .find(|(name, _)| name.ends_with(&suffix))
                .map(|(_, view)| view)
        });
        let view = view.expect("a tensor of the same name");
        assert_eq!(view.shape(), tensor.shape(), "{}", tensor.name());
        if (view.dtype(), tensor.dtype()) == (Dtype::F32, ElementType::F32) {
            let bits: Vec<u32> = view
                .data()
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&b| u32::from_le_bytes(b))
                .collect();
            let values = tensor.to_f32().expect("values");
            assert!(values.iter().map(|v| v.to_bits()).eq(bits));
        }
    }
    read_all(&ours);
}

/// A legacy pickle file of torch, and the bytes as one pickle without the file around it.
pub fn pickle(data: &[u8]) {
    resnest_loader::fuzz::pickle(data);
    archive_or_pickle(data);
}

fn archive_or_pickle(data: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::from_bytes(data.to_vec(), "fuzz.pth") {
        read_all(&checkpoint);
    }
}

/// A zip archive of torch, which holds a pickle.
pub fn zip(data: &[u8]) {
    let mut bytes = data.to_vec();
    if bytes.len() >= 4 {
        bytes[..4].copy_from_slice(b"PK\x03\x04");
    }
    archive_or_pickle(&bytes);
}
