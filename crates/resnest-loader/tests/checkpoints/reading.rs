//! Files that change while a network is built from them: an error, where a mapped file would end the process.

use std::fs::{self, File};

use candle_core::{DType, Device};
use resnest_loader::{
    Checkpoint, Error, Overrides, Resolved, load_checkpoint, load_fused, resolve_parts,
};
use resnest_model::FuseOptions;

use super::common::{demo_config, demo_weights, fixture};

/// A file of its own and what was opened of it.
fn opened(bytes: &[u8]) -> (tempfile::NamedTempFile, Checkpoint) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let checkpoint = Checkpoint::open(file.path()).unwrap();
    (file, checkpoint)
}

fn resolved() -> Resolved {
    let (config, weights) = (demo_config(), demo_weights());
    resolve_parts("demo", &config, weights, &Overrides::default()).unwrap()
}

fn errors(checkpoint: &Checkpoint) -> [Error; 2] {
    let resolved = resolved();
    [
        load_fused(checkpoint, &resolved, &FuseOptions::default()).unwrap_err(),
        load_checkpoint(checkpoint, &resolved, &Device::Cpu, DType::F32).unwrap_err(),
    ]
}

#[test]
fn a_checkpoint_cut_short_after_it_was_opened_is_an_error() {
    let weights = demo_weights();
    for length in [weights.len() as u64 - 1, 100_000, 0] {
        let (file, checkpoint) = opened(&weights);
        File::options()
            .write(true)
            .open(file.path())
            .unwrap()
            .set_len(length)
            .unwrap();
        for error in errors(&checkpoint) {
            assert!(matches!(error, Error::Changed { .. }), "{length}: {error}");
            let text = error.to_string();
            assert!(
                text.starts_with(&file.path().display().to_string()),
                "{text}"
            );
            assert!(text.contains("load it again"), "{text}");
        }
    }
}

#[test]
fn a_checkpoint_written_anew_after_it_was_opened_is_an_error() {
    let weights = demo_weights();
    let (file, checkpoint) = opened(&weights);
    std::thread::sleep(std::time::Duration::from_millis(30));
    fs::write(file.path(), &weights).unwrap();
    for error in errors(&checkpoint) {
        assert!(matches!(error, Error::Changed { .. }), "{error}");
    }
    // put in its place by a rename, as the hub's client does, a new file does no harm
    let (file, checkpoint) = opened(&weights);
    let other = tempfile::NamedTempFile::new().unwrap();
    fs::rename(other.path(), file.path()).unwrap();
    let resolved = resolved();
    load_fused(&checkpoint, &resolved, &FuseOptions::default()).unwrap();
}

#[test]
fn pickles_are_read_from_files_as_from_memory_and_noticed_when_they_change() {
    for name in [
        "mini_zip.pth",
        "mini_legacy.pth",
        "views_legacy.pth",
        "wrap_views.pth",
    ] {
        let bytes = fs::read(fixture(name)).unwrap();
        let (file, checkpoint) = opened(&bytes);
        let memory = Checkpoint::from_bytes(bytes.clone(), "memory").unwrap();
        assert_eq!(checkpoint.len(), memory.len());
        for tensor in checkpoint.tensors().filter(|t| t.dtype().is_weight()) {
            let wanted = memory.get(tensor.name()).unwrap().to_f32().unwrap();
            assert_eq!(tensor.to_f32().unwrap(), wanted, "{name} {}", tensor.name());
        }
        File::options()
            .write(true)
            .open(file.path())
            .unwrap()
            .set_len(10)
            .unwrap();
        for tensor in checkpoint
            .tensors()
            .filter(|t| t.dtype().is_weight() && t.elements() > 0)
        {
            let error = tensor.to_f32().unwrap_err();
            assert!(matches!(error, Error::Changed { .. }), "{name}: {error}");
        }
    }
}
