//! `resnest bench` as a user runs it, without any network.

mod common;

use std::process::Output;

use common::{fields, number, resnest, stderr, stdout};
use serde_json::Value;

/// As short a measurement as may be, unless `arguments` say how long.
fn bench(arguments: &[&str]) -> Output {
    let quick = match arguments.contains(&"--duration") {
        true => &["--warmup", "0"][..],
        false => &["--warmup", "0", "--duration", "0.01"],
    };
    resnest(&[&["bench"], quick, arguments].concat())
}

/// The array a run with `--format json` writes, and the run.
fn array(arguments: &[&str]) -> (Vec<Value>, Output) {
    let output = bench(&[&["--format", "json"], arguments].concat());
    let array = serde_json::from_slice(&output.stdout);
    let array = array.unwrap_or_else(|e| panic!("{e}: {} {}", stdout(&output), stderr(&output)));
    (array, output)
}

fn only(arguments: &[&str]) -> Value {
    let (mut array, output) = array(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(array.len(), 1);
    array.pop().unwrap()
}

#[test]
fn json_has_the_documented_fields() {
    let result = only(&["--model", "demo", "--batch-size", "3", "--threads", "1"]);
    let documented = [
        "batch_size",
        "device",
        "gmacs",
        "images_per_second",
        "input_size",
        "load_ms",
        "median_ms",
        "min_ms",
        "model",
        "peak_rss_bytes",
        "precision",
        "runs",
        "threads",
    ];
    assert_eq!(fields(&result), documented);
    assert_eq!(result["model"], "demo");
    assert_eq!(result["batch_size"], 3);
    assert_eq!(result["threads"], 1);
    assert_eq!(result["precision"], "fast");
    assert_eq!(result["device"], "cpu");
    assert_eq!(result["input_size"], serde_json::json!([3, 48, 48]));
    let (median, min) = (number(&result, "median_ms"), number(&result, "min_ms"));
    assert!(0.0 < min && min <= median, "{result}");
    let expected = 3.0 * 1000.0 / median;
    assert!((number(&result, "images_per_second") / expected - 1.0).abs() < 1e-9);
    assert!(result["runs"].as_u64().unwrap() >= 3 && number(&result, "load_ms") > 0.0);
    let info = resnest(&["info", "demo", "--format", "json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(result["gmacs"], info["gmacs"]);
    if cfg!(unix) {
        let peak = result["peak_rss_bytes"].as_u64().unwrap();
        assert!((2 << 20..200 << 20).contains(&peak), "{peak}");
    }
}

#[test]
fn text_is_an_aligned_table() {
    let output = bench(&[
        "--model",
        "demo",
        "--model",
        "demo",
        "--input-size",
        "32x64",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (column, value) in [("input", "32x64"), ("precision", "fast"), ("on", "cpu")] {
        let at = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
        let (start, end) = (lines[0].find(column), at(lines[0], column));
        for line in &lines[1..] {
            let aligned = line.find(value) == start || at(line, value) == end;
            assert!(aligned, "{column} in\n{text}");
        }
    }
    for column in ["median ms", "min ms", "images/s", "peak MB", "GMAC", "runs"] {
        assert!(lines[0].contains(column), "{text}");
    }
}

#[test]
fn a_bad_model_among_good_ones_loses_no_result() {
    let names = ["demo", "nonsuch", "resnest14d", "demo"];
    let options: Vec<&str> = names.iter().flat_map(|name| ["--model", name]).collect();
    let (results, output) = array(&options);
    assert_eq!(output.status.code(), Some(1));
    let models: Vec<&str> = results
        .iter()
        .map(|r| r["model"].as_str().unwrap())
        .collect();
    assert_eq!(models, names);
    for (index, hint) in [(1, "nonsuch"), (2, "offline")] {
        assert_eq!(fields(&results[index]), ["error", "model"]);
        let error = results[index]["error"].as_str().unwrap();
        assert!(error.contains(hint), "{error}");
        assert!(stderr(&output).contains(error), "{}", stderr(&output));
        let named = format!("model {}", names[index]);
        assert!(stderr(&output).contains(&named), "{}", stderr(&output));
    }
    for index in [0, 3] {
        assert!(number(&results[index], "median_ms") > 0.0);
    }
    let text = bench(&options);
    assert_eq!(text.status.code(), Some(1));
    assert_eq!(stdout(&text).lines().count(), 3, "{}", stdout(&text));
    assert!(stderr(&text).contains("nonsuch"));
}

#[test]
fn a_model_that_cannot_be_had_ends_with_status_3() {
    for name in ["resnest50", "hf-hub:nobody/nothing"] {
        let (results, output) = array(&["--model", name]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert_eq!(fields(&results[0]), ["error", "model"]);
        let times = stderr(&output).matches("error:").count();
        assert_eq!(times, 1, "{}", stderr(&output));
    }
}

#[test]
fn random_weights_do_for_any_architecture() {
    let names = [
        "resnest14d",
        "resnest50d_1s1x64d",
        "demo",
        "resnest26d.gluon_in1k",
    ];
    let mut options = vec!["--random-weights", "--input-size", "32"];
    options.extend(names.iter().flat_map(|name| ["--model", name]));
    let (results, output) = array(&options);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for (result, name) in results.iter().zip(names) {
        assert_eq!(result["model"], name);
        assert!(number(result, "gmacs") > 0.0 && number(result, "median_ms") > 0.0);
    }
    let native = only(&["--model", "resnest14d", "--random-weights"]);
    assert_eq!(native["input_size"], serde_json::json!([3, 224, 224]));
    assert!((number(&native, "gmacs") - 2.75).abs() < 0.005);
    let (_, unknown) = array(&["--model", "resnest51", "--random-weights"]);
    assert_eq!(unknown.status.code(), Some(3));
}

#[test]
fn weights_come_from_folders_and_files_too() {
    let demo = common::demo().display().to_string();
    let (folder, file) = (
        format!("local-dir:{demo}"),
        format!("{demo}/model.safetensors"),
    );
    let from_folder = only(&["--model", &folder]);
    let from_file = only(&["--model", &folder, "--checkpoint", &file]);
    for result in [from_folder, from_file] {
        assert_eq!(result["model"], folder);
        assert_eq!(result["input_size"], serde_json::json!([3, 48, 48]));
    }
    let misfit = bench(&["--model", "resnest14d", "--checkpoint", &file]);
    assert_eq!(misfit.status.code(), Some(3));
    assert!(
        stderr(&misfit).contains("conv1.0.weight"),
        "{}",
        stderr(&misfit)
    );
}

fn says_what_other_numbers_of_threads_would_do(expected: &Value, layers: &[Value]) {
    let list = |field: &str| expected[field].as_array().unwrap().clone();
    assert_eq!(list("threads"), [1, 2, 4, 8, 16, 32, 64]);
    let forward: Vec<f64> = list("forward_ms")
        .iter()
        .map(|ms| ms.as_f64().unwrap())
        .collect();
    let efficiency = list("efficiency");
    assert_eq!((forward.len(), efficiency.len()), (7, 7));
    assert_eq!(efficiency[0], 1.0);
    assert!(forward.iter().all(|&ms| ms > number(expected, "serial_ms")));
    assert!(list("measured_ms")[0].is_number() && list("measured_ms")[6].is_null());
    let steps = list("steps");
    assert_eq!(steps.len(), layers.len());
    for (step, layer) in steps.iter().zip(layers) {
        assert_eq!(step["path"], layer["path"]);
        assert_eq!(step["ms"].as_array().unwrap().len(), 7);
        // A step's longest task, and what is serial, are not shared out by any number of threads.
        let alone = number(step, "serial_ms") + number(step, "longest_ms");
        assert!(step["ms"][6].as_f64().unwrap() > 0.99 * alone, "{step}");
    }
}

#[test]
fn a_profile_adds_up_to_the_whole() {
    let base = [
        "--model",
        "demo",
        "--profile",
        "--batch-size",
        "4",
        "--duration",
        "0.3",
    ];
    for (options, planned) in [(&[][..], true), (&["--unfused"], false)] {
        let result = only(&[&base[..], options].concat());
        let layers = result["layers"].as_array().unwrap();
        assert_eq!(layers[0]["path"], "conv1.0");
        assert_eq!(layers.last().unwrap()["path"], "fc");
        let sum = |value: &dyn Fn(&Value) -> f64| layers.iter().map(value).sum::<f64>();
        let ms = sum(&|layer| number(layer, "ms"));
        assert!((ms / number(&result, "layers_ms") - 1.0).abs() < 1e-9);
        let of_whole = ms / number(&result, "median_ms");
        assert!((0.5..2.0).contains(&of_whole), "{of_whole} {result}");
        assert!((sum(&|layer| number(layer, "share")) - 1.0).abs() < 1e-9);
        let flops = sum(&|l| l["gflops"].as_f64().unwrap_or(0.0) * number(l, "ms") * 1e6);
        let expected = 2e9 * number(&result, "gmacs") * 4.0;
        assert!((flops / expected - 1.0).abs() < 1e-6, "{flops} {expected}");
        for layer in layers {
            let fields = fields(layer);
            assert_eq!(
                fields,
                ["algorithm", "gflops", "ms", "operation", "path", "share"]
            );
            assert!(layer["operation"].is_string());
            let computes = !layer["gflops"].is_null();
            assert_eq!(
                layer["algorithm"].is_string(),
                planned && computes,
                "{layer}"
            );
        }
        let expected = &result["expected"];
        assert_eq!(expected.is_object(), planned, "{expected}");
        if planned {
            says_what_other_numbers_of_threads_would_do(expected, layers);
        }
    }
    let text = stdout(&bench(&base));
    let sums = |line: &&str| line.starts_with(" sum") && line.ends_with("100.0%");
    assert_eq!(text.lines().filter(sums).count(), 1, "{text}");
    assert!(text.lines().last().unwrap().starts_with(" measured"));
    assert!(
        text.contains("split attention over conv 3x3 groups 2"),
        "{text}"
    );
}

#[test]
fn precision_algorithms_and_threads_are_obeyed() {
    let algorithms = |options: &[&str]| -> Vec<String> {
        let result = only(&[&["--model", "demo", "--profile"], options].concat());
        let layers = result["layers"].as_array().unwrap().iter();
        layers
            .filter_map(|l| Some(l["algorithm"].as_str()?.to_owned()))
            .collect()
    };
    assert!(algorithms(&[]).iter().any(|a| a.contains("winograd")));
    let exact = algorithms(&["--precision", "exact"]);
    assert!(exact.iter().all(|a| !a.contains("winograd")), "{exact:?}");
    let forced = algorithms(&[
        "--precision",
        "exact",
        "--algorithm",
        "conv1.3=winograd-f2x2",
    ]);
    assert_eq!(forced.iter().filter(|a| *a == "winograd-f2x2").count(), 1);
    for (options, precision) in [
        (&["--precision", "exact"][..], "exact"),
        (&["--unfused"], "unfused"),
    ] {
        let result = only(&[&["--model", "demo", "--threads", "2"], options].concat());
        assert_eq!(result["precision"], precision);
        assert_eq!(result["threads"], 2);
    }
}

#[test]
#[cfg(unix)]
fn each_model_has_a_peak_of_its_own() {
    let options = [
        "--random-weights",
        "--input-size",
        "64",
        "--model",
        "resnest50d",
    ];
    let (results, _) = array(&[&options[..], &["--model", "demo"]].concat());
    let peaks: Vec<u64> = results
        .iter()
        .map(|r| r["peak_rss_bytes"].as_u64().unwrap())
        .collect();
    assert!(peaks[0] > 110_000_000 && peaks[1] < 50_000_000, "{peaks:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_model_too_large_for_the_machine_takes_no_others_result_along() {
    let program = env!("CARGO_BIN_EXE_resnest");
    let models = "--random-weights --model demo --model resnest269e --model demo";
    let script = format!(
        "ulimit -v 400000; exec {program} bench --threads 1 --input-size 64 --warmup 0 --duration 0.01 --format json {models}"
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    let results: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let error = results[1]["error"].as_str().unwrap();
    assert!(error.contains("ended early"), "{error}");
    assert!(number(&results[0], "median_ms") > 0.0 && number(&results[2], "median_ms") > 0.0);
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    let file = common::demo()
        .join("model.safetensors")
        .display()
        .to_string();
    let cases: [(&[&str], &str); 16] = [
        (&["--duration", "0"], "--duration"),
        (&["--duration", "-1"], "--duration"),
        (&["--duration", "nan"], "--duration"),
        (&["--duration", "1e9"], "--duration"),
        (&["--warmup", "-1"], "--warmup"),
        (&["--warmup", "inf"], "--warmup"),
        (&["--batch-size", "0"], "--batch-size"),
        (
            &["--batch-size", "1000000000000"],
            "no memory for 1000000000000 images",
        ),
        (&["--threads", "0"], "--threads"),
        (&["--input-size", "0"], "--input-size"),
        (&["--input-size", "224x"], "--input-size"),
        (&["--input-size", "8193"], "--input-size"),
        (&["--unfused", "--precision", "exact"], "--precision"),
        (&["--random-weights", "--checkpoint", &file], "--checkpoint"),
        (&["--model", "demo", "--checkpoint", &file], "--checkpoint"),
        (&["--algorithm", "conv1.3=fft"], "winograd-f4x4"),
    ];
    for (options, hint) in cases {
        // Each option once: clap refuses a second for other reasons.
        let output = resnest(&[&["bench", "--model", "demo"], options].concat());
        assert_eq!(
            output.status.code(),
            Some(2),
            "{options:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(hint),
            "{options:?}: {}",
            stderr(&output)
        );
    }
    for (choice, hint) in [
        ("conv1.0=winograd-f6x6", "conv 3x3 stride 2"),
        ("layer9=direct", "layer9"),
    ] {
        let output = bench(&["--model", "demo", "--algorithm", choice]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(hint), "{}", stderr(&output));
    }
    assert_eq!(bench(&[]).status.code(), Some(2));
}
