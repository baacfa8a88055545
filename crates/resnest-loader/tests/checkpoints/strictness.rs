//! Everything in which a checkpoint differs from a network, in one error.

use std::collections::HashMap;

use resnest_loader::{Checkpoint, Error, Overrides, check};
use resnest_model::ResNetConfig;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};

use super::common::{contents, folder, open, resolve};

/// The reference model with its tensors changed.
fn changed(change: impl Fn(&mut HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>)) -> Checkpoint {
    let values = |v: Vec<f32>| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let all = contents(&open("ref/model.safetensors"));
    let mut all: HashMap<_, _> = all
        .into_iter()
        .map(|(n, s, v)| (n, (Dtype::F32, s, values(v))))
        .collect();
    change(&mut all);
    let views = all
        .iter()
        .map(|(n, (d, s, b))| (n, TensorView::new(*d, s.clone(), b).unwrap()));
    Checkpoint::from_bytes(serialize(views, None).unwrap(), "changed").unwrap()
}

fn network() -> ResNetConfig {
    resolve(&folder("ref"), &Overrides::default()).config
}

#[test]
fn a_checkpoint_that_fits_is_said_to() {
    let report = check(&open("ref/model.safetensors"), &network()).unwrap();
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.matched, report.expected);
    assert!(report.ignored > 10, "num_batches_tracked");
    assert!(report.into_result().is_ok());
}

#[test]
fn every_kind_of_difference_is_named_in_one_error() {
    let checkpoint = changed(|all| {
        let conv = all.remove("layer1.0.conv1.weight").unwrap();
        all.insert("layer1.0.conv_1.weight".into(), conv);
        all.remove("bn1.bias");
        all.get_mut("layer3.0.conv3.weight").unwrap().1.reverse();
        all.insert(
            "layer9.0.bn1.num_batches_tracked".into(),
            (Dtype::I64, vec![], vec![0; 8]),
        );
        let fc = all.get_mut("fc.bias").unwrap();
        *fc = (Dtype::I32, fc.1.clone(), fc.2.clone());
    });
    let report = check(&checkpoint, &network()).unwrap();
    let missing: Vec<_> = report.missing.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(missing, ["bn1.bias", "layer1.0.conv1.weight"]);
    assert_eq!(
        report.missing[1].nearest.as_deref(),
        Some("layer1.0.conv_1.weight")
    );
    let unexpected: Vec<_> = report.unexpected.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(
        unexpected,
        ["layer1.0.conv_1.weight", "layer9.0.bn1.num_batches_tracked"]
    );
    assert_eq!(
        report.unexpected[0].nearest.as_deref(),
        Some("layer1.0.conv1.weight")
    );
    assert_eq!(report.misshaped.len(), 1);
    assert_eq!(report.wrong_type[0].name, "fc.bias");
    assert_eq!(report.problems(), 6);
    let text = report.to_string();
    for words in [
        "missing (2)",
        "unexpected (2)",
        "misshaped (1)",
        "wrong type (1)",
        "layer1.0.conv1.weight [4, 8, 1, 1] (nearest: layer1.0.conv_1.weight)",
        "layer3.0.conv3.weight: the network needs [32, 8, 1, 1], the file has [1, 1, 8, 32]",
        "fc.bias: i32, not floating point",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn hundreds_of_wrong_names_stay_readable_and_complete() {
    let checkpoint = changed(|all| {
        let renamed = all
            .drain()
            .map(|(name, tensor)| (format!("backbone.{name}"), tensor))
            .collect();
        *all = renamed;
    });
    let report = check(&checkpoint, &ResNetConfig::resnest50d()).unwrap();
    assert!(report.missing.len() > 300);
    assert!(report.unexpected.len() > 80);
    let text = report.to_string();
    assert!(text.lines().count() < 40, "{text}");
    assert!(text.contains("more"), "{text}");
    assert!(matches!(report.into_result(), Err(Error::Strict(_))));
}

#[test]
fn what_is_no_tensor_is_unexpected_too() {
    let report = check(&open("wrap_stray.pth"), &network()).unwrap();
    let what = |name: &str| {
        report
            .unexpected
            .iter()
            .find(|u| u.name == name)
            .map(|u| u.what.as_str())
    };
    assert_eq!(
        (what("epoch"), what("note")),
        (Some("an int"), Some("a str"))
    );
    assert_eq!(what("a"), Some("f32 [2, 3]"));
}

#[test]
fn integers_are_no_weights() {
    let report = check(&open("wrap_other_types.pth"), &network()).unwrap();
    assert_eq!(report.unexpected.len(), 6);
    assert!(report.unexpected.iter().any(|u| u.what == "bool [2]"));
}
