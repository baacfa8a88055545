//! Every kind of source, from its name to timm's outputs.

use candle_core::{DType, Device};
use resnest_loader::{
    Error, Loader, LoaderOptions, ModelConfig, ModelSource, Overrides, Weights, resolve_parts,
};

use super::common::{
    assert_close, demo_config, demo_weights, expected, fixture, folder, image, load, loader,
    resolve,
};

#[test]
fn a_folder_gives_timms_network_labels_and_preparation() {
    let source: ModelSource = format!("local-dir:{}", fixture("ref").display())
        .parse()
        .unwrap();
    let resolved = resolve(&source, &Overrides::default());
    assert_eq!(resolved.architecture, "resnest14d");
    assert_eq!(resolved.config.channels, [4, 6, 8, 12]);
    assert_eq!(resolved.pretrained.interpolation, "bicubic");
    assert_eq!(resolved.pretrained.mean, [0.5; 3]);
    let labels = resolved.labels.as_ref().unwrap();
    assert_eq!(
        (labels.name(2), labels.name(3), labels.len()),
        (Some("two"), None, 3)
    );
    assert_eq!(
        (labels.description(2), labels.description(4)),
        (Some("one and one"), None)
    );
    let loaded = load(&source, &Overrides::default());
    assert_close(
        "plain",
        &loaded.model.forward(&image(3)).unwrap(),
        &expected("plain"),
    );
}

#[test]
fn every_folder_loads_from_whatever_file_it_has() {
    for (name, tolerance) in [
        ("bin", 1e-5),
        ("sharded", 1e-5),
        ("f64", 1e-5),
        ("f16", 0.02),
        ("bf16", 0.1),
    ] {
        let loaded = load(&folder(name), &Overrides::default());
        assert_eq!(
            loaded.report.dtype,
            DType::F32,
            "{name}: the CPU computes in f32"
        );
        let logits: Vec<f32> = loaded
            .model
            .forward(&image(3))
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let scale = expected("plain").iter().fold(0f32, |m, v| m.max(v.abs()));
        for (found, wanted) in logits.iter().zip(expected("plain")) {
            assert!(
                (found - wanted).abs() < tolerance * scale,
                "{name}: {found} {wanted}"
            );
        }
    }
}

#[test]
fn half_precision_on_the_cpu_computes_in_f32() {
    let resolved = resolve(&folder("f16"), &Overrides::default());
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        let loaded = loader().load(&resolved, &Device::Cpu, dtype).unwrap();
        assert_eq!(loaded.report.dtype, DType::F32);
    }
    let wrong = loader()
        .load(&resolved, &Device::Cpu, DType::U8)
        .unwrap_err();
    assert!(wrong.to_string().contains("no type to compute in"));
}

#[test]
fn a_checkpoint_file_takes_everything_else_from_a_name() {
    let architecture = Some(format!("local-dir:{}", fixture("ref").display()));
    let source = ModelSource::File {
        path: fixture("training.pth.tar"),
        architecture,
    };
    let loaded = load(&source, &Overrides::default());
    assert_eq!(loaded.report.wrapper.as_deref(), Some("state_dict_ema"));
    assert_close(
        "plain",
        &loaded.model.forward(&image(3)).unwrap(),
        &expected("plain"),
    );
    let named = ModelSource::File {
        path: "x.pth".into(),
        architecture: Some("resnest50d_1s1x64d".into()),
    };
    assert_eq!(
        resolve(&named, &Overrides::default()).weights,
        Weights::File("x.pth".into())
    );
    let official = ModelSource::File {
        path: "/d/resnest101-22405ba7.pth".into(),
        architecture: None,
    };
    let official = resolve(&official, &Overrides::default());
    assert_eq!(
        (official.name.as_str(), official.pretrained.input_size),
        ("resnest101e.in1k", [3, 256, 256])
    );
    let unnamed = ModelSource::File {
        path: "x.pth".into(),
        architecture: None,
    };
    let error = loader()
        .resolve(&unnamed, &Overrides::default())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("needs the name of its architecture")
    );
}

#[test]
fn parts_in_memory_load_like_files() {
    let config = std::fs::read_to_string(fixture("ref/config.json")).unwrap();
    let weights = std::fs::read(fixture("ref/model.safetensors")).unwrap();
    let resolved = resolve_parts("demo", &config, weights, &Overrides::default()).unwrap();
    assert_eq!(resolved.name, "demo");
    let loaded = loader().load(&resolved, &Device::Cpu, DType::F32).unwrap();
    assert_close(
        "plain",
        &loaded.model.forward(&image(3)).unwrap(),
        &expected("plain"),
    );
}

#[test]
fn a_pretrained_name_resolves_without_any_download() {
    let resolved = resolve(&"resnest269e".parse().unwrap(), &Overrides::default());
    assert_eq!(resolved.pretrained.input_size, [3, 416, 416]);
    let Weights::Hub {
        repo,
        revision,
        files,
        ..
    } = &resolved.weights
    else {
        panic!("{:?}", resolved.weights)
    };
    assert_eq!(
        (repo.as_str(), revision.as_deref()),
        ("timm/resnest269e.in1k", Some("main"))
    );
    assert_eq!(files[0], "model.safetensors");
    assert_eq!(loader().locate(&resolved), None);
    let mut revised = Overrides::default();
    revised.revision = Some("v2".into());
    let revised = resolve(&"resnest269e".parse().unwrap(), &revised);
    assert!(matches!(revised.weights, Weights::Hub { revision: Some(r), .. } if r == "v2"));
    assert!(
        matches!(loader().download(&resolved), Err(Error::Hub(_))),
        "offline"
    );
    let old = resolve(
        &"resnest50_fast_1s4x24d".parse().unwrap(),
        &Overrides::default(),
    );
    assert!(old.warnings[0].contains("old name of resnest50d_1s4x24d.in1k"));
    let bare = loader()
        .resolve(
            &"resnest50d_2s1x64d".parse().unwrap(),
            &Overrides::default(),
        )
        .unwrap_err();
    assert!(bare.to_string().contains("give a checkpoint file"));
}

#[test]
fn a_users_manifest_names_a_local_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("legacy.pth"), dir.path().join("mine.pth")).unwrap();
    let args = "layers = [1, 1, 1, 1], channels = [4, 6, 8, 12], stem_width = 4";
    let text = format!(
        "schema = 1\n[[model]]\nname = \"resnest14d.mine\"\npath = \"mine.pth\"\nnum_classes = 5\nmodel_args = {{ {args} }}\n"
    );
    let manifest = dir.path().join("mine.toml");
    std::fs::write(&manifest, text).unwrap();
    let mut options = LoaderOptions::default();
    options.manifests.push(manifest);
    let loader = Loader::new(options).unwrap();
    let resolved = loader
        .resolve(&"resnest14d.mine".parse().unwrap(), &Overrides::default())
        .unwrap();
    assert_eq!(loader.locate(&resolved), Some(dir.path().join("mine.pth")));
    let loaded = loader.load(&resolved, &Device::Cpu, DType::F32).unwrap();
    assert_close(
        "plain",
        &loaded.model.forward(&image(3)).unwrap(),
        &expected("plain"),
    );
}

#[test]
fn folders_without_weights_or_config_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let resolve = || {
        loader().resolve(
            &ModelSource::LocalDir(dir.path().into()),
            &Overrides::default(),
        )
    };
    assert!(
        resolve()
            .unwrap_err()
            .to_string()
            .contains("no weights file found")
    );
    std::fs::copy(fixture("legacy.pth"), dir.path().join("z.pth")).unwrap();
    assert!(resolve().unwrap_err().to_string().contains("config.json"));
    std::fs::copy(fixture("ref/config.json"), dir.path().join("config.json")).unwrap();
    assert_eq!(
        resolve().unwrap().weights,
        Weights::File(dir.path().join("z.pth"))
    );
    std::fs::copy(
        fixture("ref/model.safetensors"),
        dir.path().join("a.safetensors"),
    )
    .unwrap();
    assert_eq!(
        resolve().unwrap().weights,
        Weights::File(dir.path().join("a.safetensors"))
    );
}

#[test]
fn the_demo_model_gives_timms_logits() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), demo_config()).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), demo_weights()).unwrap();
    let source = ModelSource::LocalDir(dir.path().into());
    let resolved = resolve(&source, &Overrides::default());
    assert_eq!(resolved.config.layers, [1, 2, 2, 1]);
    assert_eq!(
        resolved.labels.as_ref().and_then(|l| l.name(9)),
        Some("truck")
    );
    let loaded = load(&source, &Overrides::default());
    assert_close(
        "demo",
        &loaded.model.forward(&image(3)).unwrap(),
        &expected("demo"),
    );
}

fn config_error(text: &str) -> String {
    match ModelConfig::parse(text, "config.json").and_then(|c| c.network().map(drop)) {
        Err(e) => e.to_string(),
        Ok(()) => panic!("accepted {text}"),
    }
}

#[test]
fn both_schemas_of_config_json_are_read() {
    let flat = r#"{"architecture": "resnest26d", "num_classes": 3, "num_features": 2048, "global_pool": "avg", "input_size": [3, 64, 64],
        "interpolation": "bilinear", "crop_pct": 0.9, "labels": ["a", "b", "c"], "first_conv": "conv1.0", "classifier": "fc", "novel": 1}"#;
    let flat = ModelConfig::parse(flat, "config.json").unwrap();
    assert_eq!(
        (flat.pretrained.num_classes, flat.pretrained.crop_pct),
        (3, 0.9)
    );
    assert_eq!(flat.labels.as_ref().unwrap().name(2), Some("c"));
    assert_eq!(flat.pretrained.extra["novel"], 1);
    // written in the nested schema, read back the same
    let again = ModelConfig::parse(&flat.to_json().to_string(), "config.json").unwrap();
    assert_eq!(again, flat);
    let nested = r#"{"architecture": "resnest26d", "num_classes": 2, "label_names": ["x", "y"],
        "model_args": {"in_chans": 1, "block_args": {"radix": 4}},
        "pretrained_cfg": {"num_classes": 1000, "label_names": ["no"], "input_size": [3, 32, 32]}}"#;
    let nested = ModelConfig::parse(nested, "config.json").unwrap();
    let network = nested.network().unwrap();
    assert_eq!(
        (
            network.num_classes,
            network.in_chans,
            nested.pretrained.input_size
        ),
        (2, 1, [1, 32, 32])
    );
    assert_eq!(nested.labels.unwrap().name(0), Some("x"));
    // block_args replace the architecture's: avd falls back to the block's own default
    assert!(format!("{:?}", network.block).contains("radix: 4, avd: false"));
}

#[test]
fn config_mistakes_are_named_by_field() {
    let args = |args: &str| {
        format!(r#"{{"architecture": "resnest26d", "model_args": {args}, "pretrained_cfg": {{}}}}"#)
    };
    for (text, wanted) in [
        ("{".to_string(), "not JSON"),
        ("[]".into(), "an object was expected"),
        ("{}".into(), "field architecture: missing"),
        (
            r#"{"architecture": "vit_base"}"#.into(),
            "unknown architecture 'vit_base'",
        ),
        (
            r#"{"architecture": "resnest26d", "pretrained_cfg": {"mean": [0, 0]}}"#.into(),
            "field pretrained_cfg.std",
        ),
        (
            r#"{"architecture": "resnest26d", "pretrained_cfg": {"crop_pct": "x"}}"#.into(),
            "field pretrained_cfg.crop_pct",
        ),
        (
            r#"{"architecture": "resnest26d", "pretrained_cfg": {"custom_load": true}}"#.into(),
            "foreign layout",
        ),
        (
            r#"{"architecture": "resnest26d", "label_names": {"x": "y"}}"#.into(),
            "field label_names.x: a class index",
        ),
        (
            args(r#"{"attn_layer": "se"}"#),
            "field model_args.attn_layer: an unknown argument",
        ),
        (
            args(r#"{"act_layer": "silu"}"#),
            "field model_args.act_layer: \"silu\" is not supported",
        ),
        (
            args(r#"{"block_args": {"radix": 2, "dilation": 3}}"#),
            "field model_args.block_args.dilation",
        ),
        (
            args(r#"{"layers": [1, 2]}"#),
            "field model_args.layers: a list of 4",
        ),
        (
            args(r#"{"output_stride": 7}"#),
            "field model_args.output_stride",
        ),
        (
            args(r#"{"num_classes": 1000000, "channels": [16384, 16384, 16384, 16384]}"#),
            "the head would have more",
        ),
        (
            args(r#"{"layers": [1000000, 1, 1, 1]}"#),
            "field model_args.layers",
        ),
    ] {
        let found = config_error(&text);
        assert!(found.contains(wanted), "{text}\n{found}");
    }
    let harmless = args(
        r#"{"drop_rate": 0.2, "zero_init_last": true, "act_layer": "relu", "aa_layer": null, "layers": [1, 1, 1, 1]}"#,
    );
    assert_eq!(
        ModelConfig::parse(&harmless, "c")
            .unwrap()
            .network()
            .unwrap()
            .layers,
        [1; 4]
    );
}
