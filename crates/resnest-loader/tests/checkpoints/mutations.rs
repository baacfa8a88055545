//! Truncation at every byte and a flip of every byte, over a small file of each format: an error or a
//! checkpoint whose tensors can be read, never a panic.

use resnest_loader::{Checkpoint, ModelConfig, fuzz};

use super::common::fixture;
use super::quantized;

const FILES: [&str; 7] = [
    "mini.safetensors",
    "mini_zip.pth",
    "mini_legacy.pth",
    "mini_protocol4.pth",
    "mini_v3.pth",
    "wrap_views.pth",
    "views_legacy.pth",
];

/// Each of them, and one of 8-bit integers.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let fixtures = FILES.map(|name| (name, std::fs::read(fixture(name)).unwrap()));
    let quantized = ("quantized", quantized::small());
    fixtures.into_iter().chain([quantized]).collect()
}

/// Opens and reads everything; whether it could be opened.
fn exercise(bytes: Vec<u8>) -> bool {
    let Ok(checkpoint) = Checkpoint::from_bytes(bytes, "mutated") else {
        return false;
    };
    for tensor in checkpoint.tensors() {
        let _ = tensor.to_f32();
    }
    true
}

#[test]
fn no_truncated_file_is_read() {
    for (name, good) in files() {
        assert!(exercise(good.clone()), "{name}");
        for length in 0..good.len() {
            assert!(
                !exercise(good[..length].to_vec()),
                "{name} cut to {length} of {} bytes was read",
                good.len()
            );
        }
    }
}

#[test]
fn no_flipped_byte_panics() {
    for (name, good) in files() {
        let (mut read, mut all) = (0, 0);
        for at in 0..good.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= change;
                read += usize::from(exercise(bytes));
                all += 1;
            }
        }
        // flips in data, padding and names cannot be noticed; flips in structure must be
        assert!(read < all, "{name}");
    }
}

#[test]
fn no_pair_of_spliced_files_panics() {
    let files: Vec<Vec<u8>> = FILES
        .iter()
        .map(|name| std::fs::read(fixture(name)).unwrap())
        .collect();
    for a in &files {
        for b in &files {
            for at in (0..a.len().min(b.len())).step_by(37) {
                exercise([&a[..at], &b[at..]].concat());
            }
        }
    }
}

#[test]
fn no_mutated_config_panics() {
    let good = std::fs::read(fixture("ref/config.json")).unwrap();
    let exercise = |bytes: &[u8]| {
        if let Ok(config) = ModelConfig::parse(&String::from_utf8_lossy(bytes), "mutated") {
            let _ = config.network();
            let _ = config.to_json();
        }
    };
    for at in 0..good.len() {
        exercise(&good[..at]);
        for change in [b'9', b'-', b'"', b'[', b'0', b'e', b' '] {
            let mut bytes = good.clone();
            bytes[at] = change;
            exercise(&bytes);
        }
    }
}

#[test]
fn no_mutated_pickle_index_or_manifest_panics() {
    let zip = std::fs::read(fixture("mini_zip.pth")).unwrap();
    let at = zip.windows(2).position(|w| w == b"\x80\x02").unwrap();
    let index = std::fs::read(fixture("sharded/model.safetensors.index.json")).unwrap();
    let manifest = b"schema = 1\n[[model]]\nname = \"resnest14d.mine\"\npath = \"mine.pth\"\n";
    type Parser = fn(&[u8]) -> bool;
    let parsers: [(&str, &[u8], Parser); 3] = [
        ("pickle", &zip[at..], fuzz::pickle),
        ("index", &index, fuzz::shard_index),
        ("manifest", manifest, fuzz::manifest),
    ];
    for (name, good, parse) in parsers {
        assert!(parse(good), "{name}");
        for at in 0..good.len().min(1500) {
            parse(&good[..at]);
            for change in [0x01, 0x10, 0x80, 0xff] {
                let mut bytes = good.to_vec();
                bytes[at] ^= change;
                parse(&bytes);
            }
        }
    }
}
