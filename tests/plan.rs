//! `resnest info --plan` as a user runs it: without weights, cache or network.

mod common;

use common::{command, fields, number, resnest, stderr, stdout};
use serde_json::Value;

fn plan(arguments: &[&str]) -> Value {
    let all = [&["info", "--plan", "--format", "json"], arguments].concat();
    let output = resnest(&all);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    object["plan"].clone()
}

#[test]
fn info_plans_a_model_whose_weights_are_not_here() {
    let whole = plan(&["resnest50d"]);
    assert_eq!(
        fields(&whole),
        [
            "batch_size",
            "bytes",
            "input_size",
            "isa",
            "layers",
            "precision"
        ]
    );
    assert_eq!(
        (&whole["batch_size"], &whole["precision"]),
        (&1.into(), &"fast".into())
    );
    assert_eq!(whole["input_size"], serde_json::json!([224, 224]));
    let layers = whole["layers"].as_array().unwrap();
    // Three in the stem, three in each of sixteen blocks, four shortcuts, the classifier.
    assert_eq!(layers.len(), 3 + 16 * 3 + 4 + 1);
    let bytes: f64 = layers.iter().map(|layer| number(layer, "bytes")).sum();
    assert_eq!(bytes, number(&whole, "bytes"));
    let layer = layers
        .iter()
        .find(|l| l["path"] == "layer4.2.conv1")
        .unwrap();
    assert_eq!(
        fields(layer),
        ["algorithm", "bytes", "input_size", "operation", "path"]
    );
    assert_eq!(layer["operation"], "conv 1x1, 2048 -> 512");
    assert_eq!(layer["algorithm"], "direct");
    assert_eq!(layer["input_size"], serde_json::json!([7, 7]));

    let text = stdout(&resnest(&["info", "resnest50d", "--plan"]));
    let heading = format!(
        "planned for {}, fast, 224x224, batch 1",
        whole["isa"].as_str().unwrap()
    );
    let end = format!("packed weights {} bytes", whole["bytes"]);
    assert!(
        text.contains(&heading) && text.trim_end().ends_with(&end),
        "{text}"
    );
    for layer in layers {
        let path = layer["path"].as_str().unwrap();
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!(" {path} ")))
            .unwrap();
        assert!(row.contains(layer["algorithm"].as_str().unwrap()), "{row}");
    }
}

#[test]
fn a_plan_follows_its_options() {
    let algorithms = |plan: &Value| -> Vec<String> {
        let layers = plan["layers"].as_array().unwrap().iter();
        layers
            .map(|layer| layer["algorithm"].as_str().unwrap().to_owned())
            .collect()
    };
    let fast = plan(&["demo", "--input-size", "96x64", "--batch-size", "8"]);
    assert_eq!(fast["batch_size"], 8);
    assert_eq!(fast["layers"][0]["input_size"], serde_json::json!([96, 64]));
    assert!(
        algorithms(&fast)
            .iter()
            .any(|name| name.starts_with("winograd"))
    );
    let exact = plan(&["demo", "--precision", "exact"]);
    assert!(algorithms(&exact).iter().all(|name| name == "direct"));
    let choice = [
        "--precision",
        "exact",
        "--algorithm",
        "conv1.3=winograd-f2x2",
    ];
    let chosen = plan(&[&["demo"], &choice[..]].concat());
    assert_eq!(chosen["layers"][1]["path"], "conv1.3");
    assert_eq!(chosen["layers"][1]["algorithm"], "winograd-f2x2");

    let refused = resnest(&["info", "demo", "--plan", "--algorithm", "fc=winograd-f2x2"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(
        stderr(&refused).contains("cannot fuse fc"),
        "{}",
        stderr(&refused)
    );
    let without = resnest(&["info", "demo", "--batch-size", "2"]);
    assert_eq!(without.status.code(), Some(2));
    assert!(stderr(&without).contains("--plan"), "{}", stderr(&without));
}

#[test]
fn the_environment_forces_the_instruction_set_of_a_plan() {
    let run = |isa: &str| {
        let mut command = command(&["info", "demo", "--plan", "--format", "json"]);
        command.env("RESNEST_ISA", isa).output().unwrap()
    };
    let portable: Value = serde_json::from_slice(&run("portable").stdout).unwrap();
    assert_eq!(portable["plan"]["isa"], "portable");
    let unknown = run("mmx");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        stderr(&unknown).contains("RESNEST_ISA=mmx"),
        "{}",
        stderr(&unknown)
    );
}
