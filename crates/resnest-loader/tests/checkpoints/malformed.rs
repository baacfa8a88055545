//! Every malformed checkpoint is an error that says what is wrong, and nothing else happens.

use std::path::Path;

use resnest_loader::{Checkpoint, Error};
use serde_json::json;

use super::common::{fixture, refusal};

fn refused(bytes: Vec<u8>) -> String {
    match Checkpoint::from_bytes(bytes, "bytes") {
        Err(e) => e.to_string(),
        Ok(c) => panic!(
            "read: {:?}",
            c.tensors().map(|t| t.name()).collect::<Vec<_>>()
        ),
    }
}

/// A safetensors file of a header and so many bytes of data.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

fn tensor(dtype: &str, shape: &[u64], offsets: [u64; 2]) -> serde_json::Value {
    json!({"dtype": dtype, "shape": shape, "data_offsets": offsets})
}

#[test]
fn lying_safetensors_headers_are_refused_by_name() {
    let f32s = |n: u64, from: u64, to: u64| tensor("F32", &[n], [from, to]);
    for (header, data, wanted) in [
        (
            json!({"a": f32s(2, 0, 8), "b": f32s(2, 4, 12)}),
            12,
            "tensors a and b overlap",
        ),
        (
            json!({"a": f32s(2, 0, 8), "b": f32s(2, 0, 8)}),
            8,
            "tensors a and b overlap",
        ),
        (
            json!({"a": f32s(2, 0, 8), "b": f32s(2, 12, 20)}),
            20,
            "4 bytes in front of tensor b belong to no tensor",
        ),
        (
            json!({"a": f32s(2, 0, 8)}),
            7,
            "tensor a: offsets [0, 8] lie outside the file",
        ),
        (
            json!({"a": f32s(2, 0, 8)}),
            9,
            "the tensors take 8 bytes, but the file holds 9",
        ),
        (
            json!({"a": f32s(2, 8, 0)}),
            8,
            "tensor a: offsets [8, 0] run backwards",
        ),
        (
            json!({"a": f32s(3, 0, 8)}),
            8,
            "tensor a: F32 [3] takes 12 bytes",
        ),
        (
            json!({"a": tensor("F32", &[u64::MAX, 2], [0, 8])}),
            8,
            "tensor a: shape",
        ),
        (
            json!({"a": tensor("F99", &[2], [0, 8])}),
            8,
            "tensor a: unknown variant `F99`",
        ),
        (
            json!({"a": tensor("F4", &[2], [0, 1])}),
            1,
            "tensor a: type F4 is not supported",
        ),
        (json!({"a": 3}), 0, "tensor a"),
        (json!([1]), 0, "neither safetensors"),
    ] {
        let found = refused(safetensors(&header.to_string(), data));
        assert!(found.contains(wanted), "{header}\n{found}");
    }
    let twice = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    assert!(refused(safetensors(twice, 8)).contains("tensor a appears twice"));
    let deep = format!("{{\"a\":{{\"x\":{}", "[".repeat(100_000));
    assert!(refused(safetensors(&deep, 0)).contains("safetensors header: tensor a"));
}

#[test]
fn the_header_length_is_held_against_the_file() {
    let good = std::fs::read(fixture("mini.safetensors")).unwrap();
    for claimed in [u64::MAX, 1 << 40, good.len() as u64, good.len() as u64 - 7] {
        let mut bytes = good.clone();
        bytes[..8].copy_from_slice(&claimed.to_le_bytes());
        assert!(refused(bytes.clone()).contains("it claims"), "{claimed}");
        // and in the same way before a file is mapped
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let error = Checkpoint::open(file.path()).unwrap_err();
        assert!(matches!(error, Error::Header { .. }), "{error}");
    }
    let mut short = good;
    short[0] -= 1;
    assert!(refused(short).contains("safetensors header"));
}

#[test]
fn pickles_that_would_run_something_run_nothing() {
    for (name, global) in [
        ("evil_zip.pth", "posix.system"),
        ("evil_legacy.pth", "posix.system"),
        ("evil_protocol4.pth", "builtins.eval"),
        ("module_zip.pth", "torch.nn.modules.linear.Linear"),
    ] {
        let error = Checkpoint::open(fixture(name)).unwrap_err();
        let Error::ForbiddenGlobal { global: found, .. } = &error else {
            panic!("{name}: {error}")
        };
        assert_eq!(found, global, "{name}");
        assert!(error.to_string().contains("nothing was executed"));
    }
    assert!(refusal("evil_plain.pth").contains("posix.system"));
    // what they would have left behind
    for place in [
        Path::new("PWNED").to_path_buf(),
        fixture("PWNED"),
        fixture("../PWNED"),
    ] {
        assert!(!place.exists(), "{}", place.display());
    }
}

#[test]
fn what_torch_files_cannot_be_is_said() {
    for (name, wanted) in [
        ("big_endian_zip.pth", "big-endian"),
        ("big_endian_legacy.pth", "big-endian"),
        ("deflated_zip.pth", "compressed or encrypted"),
        (
            "wrap_collision.pth",
            "tensor a appears twice (a and module.a)",
        ),
    ] {
        let found = refusal(name);
        assert!(found.contains(wanted), "{name}: {found}");
    }
}

#[test]
fn what_is_no_checkpoint_is_named() {
    for (bytes, wanted) in [
        (&b""[..], "the file is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "git lfs pull",
        ),
        (b"<!DOCTYPE html><html>", "failed download"),
        (b"{\"error\": \"Entry not found\"}", "JSON text"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"hello, world", "neither safetensors nor"),
        (b"\x80\x02K\x01.", "not one of torch.save"),
        (b"PK\x03\x04 and nothing more", "zip archive"),
    ] {
        let found = refused(bytes.to_vec());
        assert!(found.contains(wanted), "{found}");
    }
    assert!(matches!(
        Checkpoint::open("/nowhere/x.pth"),
        Err(Error::Io { .. })
    ));
    assert!(Checkpoint::open(fixture("ref")).is_err(), "a folder");
}

/// Replaces bytes in a stored zip, of the same length so that nothing moves.
fn patched(name: &str, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut bytes = std::fs::read(fixture(name)).unwrap();
    let at = bytes
        .windows(old.len())
        .position(|w| w == old)
        .unwrap_or_else(|| panic!("{old:?} not in {name}"));
    bytes[at..at + old.len()].copy_from_slice(new);
    bytes
}

#[test]
fn pickles_that_lie_about_their_tensors_are_refused() {
    // shape (2, 3) becomes (2, 255): K2 K3 TUPLE2
    assert!(
        refused(patched(
            "mini_zip.pth",
            b"K\x02K\x03\x86",
            b"K\x02K\xff\x86"
        ))
        .contains("reach outside storage")
    );
    assert!(
        refused(patched(
            "mini_legacy.pth",
            b"K\x02K\x03\x86",
            b"K\x02K\xff\x86"
        ))
        .contains("reach outside storage")
    );
    // strides (3, 1) become (3, 200)
    assert!(
        refused(patched(
            "mini_zip.pth",
            b"K\x03K\x01\x86",
            b"K\x03K\xc8\x86"
        ))
        .contains("reach outside storage")
    );
    // a storage of 6 elements said to have 7
    assert!(
        refused(patched("mini_zip.pth", b"K\x06t", b"K\x07t")).contains("7 elements are claimed")
    );
    assert!(
        refused(patched("mini_legacy.pth", b"K\x06N", b"K\x07N"))
            .contains("claims 6 elements, its tensors 7")
    );
    // storages of doubles, read as such, would be twice as long
    let doubled = patched("mini_zip.pth", b"FloatStorage", b"LongStorage\n");
    assert!(Checkpoint::from_bytes(doubled, "x").is_err());
}

#[test]
fn zips_that_lie_about_sizes_are_refused() {
    let good = std::fs::read(fixture("mini_zip.pth")).unwrap();
    let central = good.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    for (offset, what) in [
        (20, "compressed size"),
        (24, "size"),
        (42, "local header offset"),
    ] {
        for claimed in [u32::MAX - 1, 1 << 30, 0x10_0000] {
            let mut bytes = good.clone();
            bytes[central + offset..central + offset + 4].copy_from_slice(&claimed.to_le_bytes());
            assert!(
                refused(bytes).contains("zip archive"),
                "{what} {claimed:#x}"
            );
        }
    }
    let mut renamed = good.clone();
    for at in 0..renamed.len() - 8 {
        if &renamed[at..at + 8] == b"data.pkl" {
            renamed[at..at + 8].copy_from_slice(b"dAta.pkl");
        }
    }
    assert!(refused(renamed).contains("no data.pkl"));
}

#[test]
fn shard_indices_are_held_to_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    std::fs::copy(
        fixture("mini.safetensors"),
        dir.path().join("one.safetensors"),
    )
    .unwrap();
    std::fs::copy(
        fixture("mini.safetensors"),
        dir.path().join("two.safetensors"),
    )
    .unwrap();
    let open = |map: serde_json::Value| {
        std::fs::write(&index, json!({"weight_map": map}).to_string()).unwrap();
        Checkpoint::open(&index)
            .map(|c| c.len())
            .map_err(|e| e.to_string())
    };
    assert_eq!(
        open(json!({"a": "one.safetensors", "b": "one.safetensors"})),
        Ok(2)
    );
    for (map, wanted) in [
        (
            json!({"a": "one.safetensors", "b": "two.safetensors"}),
            "appears twice (one.safetensors and two.safetensors)",
        ),
        (
            json!({"a": "one.safetensors"}),
            "tensor b of one.safetensors is not listed",
        ),
        (
            json!({"a": "one.safetensors", "b": "one.safetensors", "c": "one.safetensors"}),
            "tensor c is not in one.safetensors",
        ),
        (json!({"a": "three.safetensors"}), "cannot read"),
        (
            json!({"a": "../one.safetensors"}),
            "not a file beside the index",
        ),
        (json!({"a": "/etc/passwd"}), "not a file beside the index"),
        (json!({"a": ""}), "not a file beside the index"),
        (json!({"a": 3}), "shard index"),
    ] {
        let found = open(map.clone()).unwrap_err();
        assert!(found.contains(wanted), "{map}: {found}");
    }
}
