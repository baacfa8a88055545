//! The command as a user runs it: outputs, exit statuses, errors that name the thing.

#[path = "cli/broken.rs"]
mod broken;
#[path = "cli/cache.rs"]
mod cache;
mod common;
#[path = "cli/names.rs"]
mod names;

use std::io::Write;
use std::process::Stdio;

use common::{command, resnest, stderr, stdout};
use serde_json::Value;

fn photo(name: &str) -> String {
    common::demo()
        .join("photos")
        .join(name)
        .display()
        .to_string()
}

fn photos() -> String {
    common::demo().join("photos").display().to_string()
}

#[test]
fn text_names_each_photo_and_its_best_class_first() {
    let output = resnest(&["classify", "--model", "demo", "--topk", "2", &photos()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].ends_with("chelsea.png") && lines[1].ends_with("cat"),
        "{text}"
    );
    assert!(
        lines[4].ends_with("horse.png") && lines[5].ends_with("horse"),
        "{text}"
    );
    assert_eq!(lines.len(), 7, "{text}");
}

#[test]
fn json_is_an_array_in_input_order_with_errors_in_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.jpg");
    std::fs::write(&broken, b"\xff\xd8\xff not a photo").unwrap();
    let (broken, absent) = (broken.display().to_string(), "absent.png");
    let (horse, cat) = (photo("horse.png"), photo("chelsea.png"));
    for batch in ["1", "3", "8"] {
        let output = resnest(&[
            "classify",
            "--model",
            "demo",
            "--format",
            "json",
            "--topk",
            "3",
            "--batch-size",
            batch,
            &horse,
            &broken,
            absent,
            &cat,
        ]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(&broken) && stderr(&output).contains("absent.png"));
        let array: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let files: Vec<&str> = array.iter().map(|o| o["file"].as_str().unwrap()).collect();
        assert_eq!(files, [&horse, &broken, absent, &cat]);
        for failed in &array[1..3] {
            assert!(failed["error"].is_string() && failed.get("predictions").is_none());
        }
        for (at, label, index) in [(0, "horse", 7), (3, "cat", 3)] {
            let predictions = array[at]["predictions"].as_array().unwrap();
            assert!(array[at].get("error").is_none());
            assert_eq!(predictions.len(), 3);
            assert_eq!(predictions[0]["label"], label);
            assert_eq!(predictions[0]["index"], index);
            let probabilities: Vec<f64> = predictions
                .iter()
                .map(|p| p["probability"].as_f64().unwrap())
                .collect();
            assert!(probabilities.is_sorted_by(|a, b| a >= b));
            assert!(predictions[0].get("logit").is_none());
        }
    }
}

#[test]
fn jsonl_and_csv_hold_the_same_logits_as_timm_recorded() {
    let recorded: Value =
        serde_json::from_str(&std::fs::read_to_string(common::demo().join("photos.json")).unwrap())
            .unwrap();
    let all = [
        "classify",
        "--model",
        "demo",
        "--topk",
        "99",
        "--output-type",
        "logit",
    ];
    let horse = photo("horse.png");
    let jsonl = resnest(&[&all[..], &["--format", "jsonl", &horse]].concat());
    let lines: Vec<Value> = stdout(&jsonl)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let csv = resnest(&[&all[..], &["--format", "csv", &horse]].concat());
    let rows = stdout(&csv);
    assert!(
        rows.starts_with("file,rank,index,label,description,logit,error\n"),
        "{rows}"
    );
    for (p, row) in lines[0]["predictions"]
        .as_array()
        .unwrap()
        .iter()
        .zip(rows.lines().skip(1))
    {
        let index = p["index"].as_u64().unwrap() as usize;
        let expected = recorded["logits"]["horse.png"][index].as_f64().unwrap();
        assert!(
            (p["logit"].as_f64().unwrap() - expected).abs() < 3e-4,
            "{p}"
        );
        assert!(p.get("probability").is_none());
        let columns: Vec<&str> = row.split(',').collect();
        assert_eq!(columns[2], index.to_string());
        assert!(
            (columns[5].parse::<f64>().unwrap() - expected).abs() < 3e-4,
            "{row}"
        );
    }
    assert_eq!(rows.lines().count(), 11);
}

#[test]
fn standard_input_is_one_image() {
    let mut child = command(&["classify", "--model", "demo", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = std::fs::read(photo("chelsea.png")).unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let array: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(array[0]["file"], "-");
    assert_eq!(array[0]["predictions"][0]["label"], "cat");
}

#[test]
fn an_unknown_model_and_an_absent_one_end_with_status_3_and_a_way_out() {
    let unknown = resnest(&["classify", "--model", "resnest50", &photos()]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(
        stderr(&unknown).contains("resnest50d"),
        "{}",
        stderr(&unknown)
    );
    let absent = resnest(&["classify", "--model", "resnest14d", &photos()]);
    assert_eq!(absent.status.code(), Some(3));
    assert!(stderr(&absent).contains("offline"), "{}", stderr(&absent));
    assert!(stdout(&absent).is_empty());
}

#[test]
fn wrong_options_end_with_status_2_and_name_what_is_allowed() {
    let cases: [(&[&str], &str); 9] = [
        (&["--interpolation", "cubic"], "bicubic"),
        (&["--crop-mode", "middle"], "squash"),
        (&["--format", "xml"], "jsonl"),
        (&["--precision", "half"], "exact"),
        (&["--device", "gpu"], "cuda"),
        (&["--topk", "0"], "at least 1"),
        (&["--crop-pct", "0"], "above 0"),
        (&["--input-size", "big"], "224"),
        (&["--no-such-option"], "--no-such-option"),
    ];
    for (options, hint) in cases {
        let output = resnest(&[&["classify", "--model", "demo", &photos()], options].concat());
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(
            stderr(&output).contains(hint),
            "{options:?}: {}",
            stderr(&output)
        );
    }
    let nothing = resnest(&["classify"]);
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn an_absent_device_says_how_to_get_it() {
    let output = resnest(&["classify", "--model", "demo", "--device", "cuda", &photos()]);
    if !cfg!(feature = "cuda") {
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr(&output).contains("--features cuda"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn threads_and_transform_options_are_obeyed() {
    let cat = photo("chelsea.png");
    let base = [
        "classify",
        "--model",
        "demo",
        "--format",
        "json",
        "--output-type",
        "logit",
        &cat,
    ];
    let plain = resnest(&base);
    let one = resnest(&[&base[..], &["--threads", "1"]].concat());
    assert_eq!(plain.stdout, one.stdout);
    for options in [
        ["--input-size", "64x96"],
        ["--crop-pct", "0.5"],
        ["--interpolation", "nearest"],
    ] {
        let other = resnest(&[&base[..], &options].concat());
        assert_eq!(
            other.status.code(),
            Some(0),
            "{options:?}: {}",
            stderr(&other)
        );
        assert_ne!(other.stdout, plain.stdout, "{options:?}");
    }
}

#[test]
fn precision_chooses_among_kernels_that_agree() {
    let cat = photo("chelsea.png");
    let logits = |options: &[&str]| {
        let base = ["classify", "--model", "demo", "--format", "csv", &cat];
        let output = resnest(&[&base[..], &["--output-type", "logit"], options].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = stdout(&output);
        let logits = text
            .lines()
            .skip(1)
            .map(|row| row.split(',').nth(5).unwrap());
        logits.map(|l| l.parse().unwrap()).collect::<Vec<f32>>()
    };
    let (default, fast) = (logits(&[]), logits(&["--precision", "fast"]));
    let exact = logits(&["--precision", "exact"]);
    assert_eq!(default, fast);
    assert_ne!(fast, exact);
    for (a, b) in fast.iter().zip(&exact) {
        assert!((a - b).abs() <= 1e-4 * exact[0], "{fast:?} {exact:?}");
    }
}

#[test]
fn models_lists_by_wildcard() {
    let output = resnest(&["models", "resnest50d*"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for name in [
        "resnest50d.in1k",
        "resnest50d_1s4x24d.in1k",
        "resnest50d_4s2x40d.in1k",
    ] {
        assert!(text.contains(name), "{text}");
    }
    assert!(!text.contains("resnest14d"), "{text}");
    let json = resnest(&["models", "--format", "json"]);
    let all: Vec<Value> = serde_json::from_slice(&json.stdout).unwrap();
    assert!(
        all.iter()
            .any(|m| m["name"] == "resnest269e.in1k" && m["parameters"] == 110_929_480)
    );
    let none = resnest(&["models", "vgg*"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("vgg*"));
}

#[test]
fn info_tells_of_models_and_files() {
    let weights = common::demo()
        .join("model.safetensors")
        .display()
        .to_string();
    let file = resnest(&["info", &weights]);
    assert_eq!(file.status.code(), Some(0), "{}", stderr(&file));
    assert!(stdout(&file).contains("strict load"), "{}", stdout(&file));
    let misfit = resnest(&["info", &weights, "--arch", "resnest50d"]);
    assert_eq!(misfit.status.code(), Some(1));
    assert!(
        stdout(&misfit).contains("layer1.1.conv1.weight"),
        "{}",
        stdout(&misfit)
    );
    let misfit = resnest(&["info", &weights, "--arch", "resnest50d", "--format", "json"]);
    let object: Value = serde_json::from_slice(&misfit.stdout).unwrap();
    let missing = object["weights"]["strict"]["missing"].as_array().unwrap();
    assert!(
        missing.iter().any(|name| name == "layer3.5.conv1.weight"),
        "all of them"
    );
    let shapes = resnest(&["info", "resnest50d_4s2x40d", "--shapes"]);
    assert_eq!(shapes.status.code(), Some(0), "{}", stderr(&shapes));
    for shape in [
        "(1, 320, 56, 56)",
        "(1, 4, 80, 56, 56)",
        "(1, 4, 2, 40)",
        "(1, 256, 56, 56)",
    ] {
        assert!(
            stdout(&shapes).contains(shape),
            "{shape} in {}",
            stdout(&shapes)
        );
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = command(&[
        "classify",
        "--model",
        "demo",
        "--format",
        "jsonl",
        &photos(),
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!stderr(&output).contains("panic"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn an_error_quotes_its_cause_once() {
    let absent = "/nonexistent/weights.safetensors";
    let photos = photos();
    let output = resnest(&[
        "classify",
        "--model",
        "resnest50d",
        "--checkpoint",
        absent,
        &photos,
    ]);
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    assert!(text.contains(absent), "{text}");
    assert_eq!(text.matches("No such file").count(), 1, "{text}");
}

#[test]
fn inputs_are_looked_at_before_a_model_is_fetched() {
    // The model is in no cache and there is no hub: nothing of it may be asked for.
    let model = ["--model", "resnest269e", "nothing.jpg"];
    let classify = resnest(&[&["classify", "--format", "jsonl"], &model[..]].concat());
    let explain = resnest(&[&["explain", "--format", "json"], &model[..]].concat());
    for output in [&classify, &explain] {
        assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
        assert!(
            stdout(output).contains("No such file"),
            "{}",
            stdout(output)
        );
        assert!(
            !stderr(output).contains("resnest269e"),
            "{}",
            stderr(output)
        );
    }
    let answer: Value = serde_json::from_str(&stdout(&classify)).unwrap();
    assert_eq!(answer["file"], "nothing.jpg");
    let features = resnest(&[&["features", "--out", "x.npy"], &model[..]].concat());
    assert_eq!(features.status.code(), Some(2), "{}", stderr(&features));
    assert!(stderr(&features).contains("nothing.jpg: No such file"));
    // One that can be read, and the model is asked for.
    let horse = photo("horse.png");
    let some = resnest(&[&["classify"], &model[..], &[&horse]].concat());
    assert_eq!(some.status.code(), Some(3), "{}", stderr(&some));
}

#[test]
fn the_demo_is_known_wherever_models_are_named() {
    let download = resnest(&["download", "demo"]);
    assert_eq!(download.status.code(), Some(0), "{}", stderr(&download));
    assert!(stdout(&download).contains("nothing to download"));
    let models = resnest(&["models", "demo"]);
    assert!(
        stderr(&models).contains("resnest info demo"),
        "{}",
        stderr(&models)
    );
    let typo = resnest(&["classify", "--model", "dmo", &photos()]);
    assert_eq!(typo.status.code(), Some(3));
    assert!(stderr(&typo).contains("demo"), "{}", stderr(&typo));
    let verify = resnest(&["verify", "demo"]);
    assert_eq!(verify.status.code(), Some(2));
    for way in ["--reference", "--self"] {
        assert!(stderr(&verify).contains(way), "{}", stderr(&verify));
    }
}

#[test]
fn info_is_in_words() {
    let output = resnest(&["info", "demo"]);
    let text = stdout(&output);
    assert!(text.contains("ResNestBottleneck (radix 2"), "{text}");
    assert!(
        text.contains("counters of training steps, which are not used"),
        "{text}"
    );
    assert!(!text.contains('{') && !text.contains("Some("), "{text}");
}
