//! Every format gives the tensors that torch wrote, as safetensors recorded them.

use resnest_loader::{Checkpoint, CheckpointFormat, ElementType};

use super::common::{contents, fixture, open};

#[test]
fn every_format_of_a_whole_model_gives_the_same_tensors() {
    let reference = contents(&open("ref/model.safetensors"));
    assert!(reference.len() > 100);
    for (name, format, wrapper) in [
        ("bin/pytorch_model.bin", CheckpointFormat::ZipPickle, None),
        ("legacy.pth", CheckpointFormat::LegacyPickle, None),
        (
            "training.pth.tar",
            CheckpointFormat::ZipPickle,
            Some("state_dict_ema"),
        ),
        (
            "sharded/model.safetensors.index.json",
            CheckpointFormat::Sharded,
            None,
        ),
    ] {
        let checkpoint = open(name);
        assert_eq!(
            (checkpoint.format(), checkpoint.wrapper()),
            (format, wrapper),
            "{name}"
        );
        assert_eq!(contents(&checkpoint), reference, "{name}");
        assert!(checkpoint.strays().is_empty(), "{name}");
    }
}

#[test]
fn wrappers_and_prefixes_are_removed_in_timms_order() {
    let reference = contents(&open("mini.safetensors"));
    for (name, wrapper) in [
        ("wrap_plain.pth", None),
        ("wrap_ema.pth", Some("state_dict_ema")),
        ("wrap_model_ema.pth", Some("model_ema")),
        ("wrap_state_dict.pth", Some("state_dict")),
        ("wrap_model.pth", Some("model")),
        ("wrap_ddp.pth", None),
        ("wrap_compiled.pth", None),
        ("wrap_compiled_ddp.pth", None),
        ("wrap_ddp_compiled.pth", None),
        ("training_legacy.pth.tar", Some("state_dict_ema")),
        ("mini_zip.pth", None),
        ("mini_legacy.pth", None),
        ("mini_protocol4.pth", None),
    ] {
        let checkpoint = open(name);
        assert_eq!(contents(&checkpoint), reference, "{name}");
        assert_eq!(checkpoint.wrapper(), wrapper, "{name}");
        let prefixed = name.contains("ddp") || name.contains("compiled");
        assert_eq!(checkpoint.had_prefixes(), prefixed, "{name}");
    }
}

#[test]
fn views_of_storages_are_read_through_their_strides() {
    let recorded = open("views.safetensors");
    for name in ["wrap_views.pth", "views_legacy.pth"] {
        let checkpoint = open(name);
        assert_eq!(contents(&checkpoint), contents(&recorded), "{name}");
        for tensor in recorded.tensors() {
            assert_eq!(
                checkpoint.get(tensor.name()).unwrap().dtype(),
                tensor.dtype(),
                "{name}"
            );
        }
    }
}

#[test]
fn smaller_and_larger_floats_are_rounded_once() {
    let reference = contents(&open("ref/model.safetensors"));
    type Round = fn(f32) -> f32;
    let rounds: [(&str, Round); 3] = [
        ("f16", |v| half::f16::from_f32(v).to_f32()),
        ("bf16", |v| half::bf16::from_f32(v).to_f32()),
        ("f64", |v| v),
    ];
    for (name, round) in rounds {
        let found = contents(&open(&format!("{name}/model.safetensors")));
        assert_eq!(found.len(), reference.len());
        for (f, r) in found.iter().zip(&reference) {
            assert_eq!((&f.0, &f.1), (&r.0, &r.1));
            assert_eq!(
                f.2,
                r.2.iter().map(|v| round(*v)).collect::<Vec<_>>(),
                "{name} {}",
                f.0
            );
        }
    }
}

#[test]
fn other_types_are_listed_and_not_taken_for_weights() {
    let checkpoint = open("wrap_other_types.pth");
    for (name, dtype) in [
        ("i64", ElementType::I64),
        ("i32", ElementType::I32),
        ("i16", ElementType::I16),
        ("i8", ElementType::I8),
        ("u8", ElementType::U8),
        ("flag", ElementType::Bool),
    ] {
        let tensor = checkpoint.get(name).unwrap();
        assert_eq!(tensor.dtype(), dtype);
        assert!(
            tensor
                .to_f32()
                .unwrap_err()
                .to_string()
                .contains("not a floating-point type")
        );
    }
    let v3 = open("mini_v3.pth");
    assert_eq!(v3.get("extra").unwrap().dtype(), ElementType::U16);
    assert_eq!(v3.len(), 3);
}

#[test]
fn bytes_in_memory_are_read_like_files() {
    for name in [
        "ref/model.safetensors",
        "legacy.pth",
        "bin/pytorch_model.bin",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let memory = Checkpoint::from_bytes(bytes, "embedded").unwrap();
        assert_eq!(contents(&memory), contents(&open(name)));
        assert_eq!(memory.origin(), "embedded");
    }
    let metadata = open("ref/model.safetensors").metadata().clone();
    assert_eq!(metadata.get("format").map(String::as_str), Some("pt"));
}
