//! What a load may change when asked, against timm's own adaptation.

use resnest_loader::{Error, HeadPolicy, Overrides};
use resnest_model::PoolType;

use super::common::{assert_close, expected, fixture, folder, image, load, loader, resolve};

#[test]
fn in_chans_follow_timm() {
    for chans in [1, 4, 7] {
        let mut overrides = Overrides::default();
        overrides.in_chans = Some(chans);
        let loaded = load(&folder("ref"), &overrides);
        assert_eq!(loaded.report.adapted.as_deref(), Some("conv1.0.weight"));
        let name = format!("in{chans}");
        assert_close(
            &name,
            &loaded.model.forward(&image(chans)).unwrap(),
            &expected(&name),
        );
    }
    let mut same = Overrides::default();
    same.in_chans = Some(3);
    assert_eq!(load(&folder("ref"), &same).report.adapted, None);
}

#[test]
fn pools_and_strides_follow_timm() {
    let with = |overrides: Overrides| {
        load(&folder("ref"), &overrides)
            .model
            .forward(&image(3))
            .unwrap()
    };
    let mut max = Overrides::default();
    max.global_pool = Some(PoolType::Max);
    assert_close("max", &with(max), &expected("max"));
    let mut stride = Overrides::default();
    stride.output_stride = Some(16);
    assert_close("stride16", &with(stride), &expected("stride16"));
}

#[test]
fn without_a_head_the_classifier_is_left_out_and_reported() {
    let mut overrides = Overrides::default();
    overrides.num_classes = Some(0);
    let loaded = load(&folder("ref"), &overrides);
    assert_eq!(loaded.report.dropped, ["fc.weight", "fc.bias"]);
    assert_close(
        "no_head",
        &loaded.model.forward(&image(3)).unwrap(),
        &expected("no_head"),
    );
    let mut map = overrides;
    map.global_pool = Some(PoolType::None);
    assert_close(
        "no_pool",
        &load(&folder("ref"), &map).model.forward(&image(3)).unwrap(),
        &expected("no_pool"),
    );
}

#[test]
fn another_head_is_built_only_when_asked() {
    let mut overrides = Overrides::default();
    overrides.num_classes = Some(7);
    let resolved = resolve(&folder("ref"), &overrides);
    assert_eq!(
        resolved.labels, None,
        "the labels name the checkpoint's classes"
    );
    let refused = loader()
        .load(
            &resolved,
            &candle_core::Device::Cpu,
            candle_core::DType::F32,
        )
        .unwrap_err();
    let Error::Strict(report) = &refused else {
        panic!("{refused}")
    };
    assert_eq!(report.misshaped.len(), 2);
    assert!(
        refused.to_string().contains("only the classifier differs"),
        "{refused}"
    );

    overrides.head = HeadPolicy::Replace;
    let loaded = load(&folder("ref"), &overrides);
    assert_eq!(loaded.report.replaced, ["fc.weight", "fc.bias"]);
    let maps = loaded.model.forward_features(&image(3)).unwrap();
    let features = loaded.model.forward_head(&maps, true).unwrap();
    assert_close(
        "new_head_features",
        &features,
        &expected("new_head_features"),
    );
    let logits = |loaded: &resnest_loader::Loaded| -> Vec<f32> {
        loaded
            .model
            .forward(&image(3))
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    };
    let first = logits(&loaded);
    assert_eq!(first.len(), 7);
    assert!(first.iter().any(|v| v.abs() > 1e-4), "a head of zeros");
    assert_eq!(
        first,
        logits(&load(&folder("ref"), &overrides)),
        "two loads agree"
    );
    // a head that fits is kept
    let mut kept = Overrides::default();
    kept.head = HeadPolicy::Replace;
    let kept = load(&folder("ref"), &kept);
    assert!(kept.report.replaced.is_empty());
    assert_close(
        "plain",
        &kept.model.forward(&image(3)).unwrap(),
        &expected("plain"),
    );
}

#[test]
fn a_new_head_excuses_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(fixture("ref/model.safetensors")).unwrap();
    let name = b"layer2.0.conv3.weight";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
    let mut changed = bytes;
    changed[at + 5] = b'9'; // layer9.0.conv3.weight
    std::fs::write(dir.path().join("model.safetensors"), changed).unwrap();
    std::fs::copy(fixture("ref/config.json"), dir.path().join("config.json")).unwrap();
    let mut overrides = Overrides::default();
    overrides.num_classes = Some(7);
    overrides.head = HeadPolicy::Replace;
    let source = resnest_loader::ModelSource::LocalDir(dir.path().into());
    let resolved = resolve(&source, &overrides);
    let error = loader()
        .load(
            &resolved,
            &candle_core::Device::Cpu,
            candle_core::DType::F32,
        )
        .unwrap_err();
    let Error::Strict(report) = &error else {
        panic!("{error}")
    };
    assert_eq!(report.problems(), 2, "{report}");
    assert_eq!(
        report.missing[0].nearest.as_deref(),
        Some("layer9.0.conv3.weight")
    );
}

#[test]
fn channels_that_contradict_the_config_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        fixture("ref/model.safetensors"),
        dir.path().join("model.safetensors"),
    )
    .unwrap();
    let config = std::fs::read_to_string(fixture("ref/config.json")).unwrap();
    let config = config.replacen("\"in_chans\": 3", "\"in_chans\": 5", 1);
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    let source = resnest_loader::ModelSource::LocalDir(dir.path().into());
    let load = |chans| {
        let resolved = resolve(&source, &{
            let mut made = Overrides::default();
            made.in_chans = Some(chans);
            made
        });
        loader().load(
            &resolved,
            &candle_core::Device::Cpu,
            candle_core::DType::F32,
        )
    };
    let error = load(4).unwrap_err();
    assert!(matches!(error, Error::InChans { asked: 4, .. }), "{error}");
    // the weights have what is asked already, as timm loads them with a warning
    assert!(load(3).unwrap().report.warnings[0].contains("loaded unchanged"));
}
