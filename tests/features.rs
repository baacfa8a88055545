//! `resnest features` against timm's `forward_head(pre_logits=True)` and stage maps, as `verify/demo.safetensors` has
//! them recorded, in each of the three formats.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, RowAccessor};
use resnest::dataset::Dataset;
use resnest::explain::{Classes, Maps};
use resnest::features::{FeatureTable, FeatureWriter, Layer, WriteError};
use resnest::validate::{Evaluation, Options, Targets};
use resnest::{Classifier, DeviceChoice, Error};
use safetensors::SafeTensors;

mod common;
#[path = "golden/fixture.rs"]
#[allow(dead_code, reason = "shared with golden.rs, which uses all of it")]
mod fixture;

use common::{command, resnest, stderr};
use fixture::{Fixture, max_abs, max_diff};

fn reference() -> PathBuf {
    common::root().join("tests/verify/demo.safetensors")
}

/// The reference's images as files, and a broken one behind them.
fn images(folder: &Path) -> Vec<String> {
    let reference = Fixture::read(&reference());
    let names = reference.json("images");
    let mut paths = Vec::new();
    for (i, name) in names.as_array().unwrap().iter().enumerate() {
        let path = folder.join(name.as_str().unwrap());
        let bytes = reference.tensors[&format!("image.{i}")].to_vec1::<u8>();
        std::fs::write(&path, bytes.unwrap()).unwrap();
        paths.push(path);
    }
    let broken = folder.join("broken.png");
    std::fs::write(&broken, b"\x89PNG\r\n\x1a\nnothing").unwrap();
    paths.push(broken);
    paths.iter().map(|p| p.display().to_string()).collect()
}

/// Runs the command on those images into `out`; it says that one of them failed.
fn write(folder: &Path, out: &str, more: &[&str]) -> PathBuf {
    let out = folder.join(out);
    let (images, path) = (images(folder), out.display().to_string());
    let mut arguments = vec!["features", "--model", "demo", "--out", &path];
    arguments.extend(more);
    arguments.extend(images.iter().map(String::as_str));
    let output = resnest(&arguments);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("broken.png"),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("3 images, 1 failed"),
        "{}",
        stderr(&output)
    );
    out
}

fn npy(path: &Path) -> (Vec<u64>, Vec<f32>) {
    common::npy(&std::fs::read(path).unwrap())
}

/// The values at the flat positions that the reference recorded of a stage.
fn sampled(values: &[f32], samples: usize) -> Vec<f64> {
    let at = |i: usize| f64::from(values[i * values.len() / samples]);
    (0..samples).map(at).collect()
}

#[test]
fn embeddings_and_maps_are_timms() {
    let folder = tempfile::tempdir().unwrap();
    let timm = Fixture::read(&reference());
    for (stage, shape) in [
        ("pre_logits", &[3, 512][..]),
        ("act1", &[3, 32, 24, 24]),
        ("layer3", &[3, 256, 3, 3]),
        ("layer4", &[3, 512, 2, 2]),
    ] {
        for precision in ["fast", "exact"] {
            let more = ["--stage", stage, "--precision", precision];
            let (got_shape, values) = npy(&write(folder.path(), "x.npy", &more));
            assert_eq!(got_shape, shape);
            let width = values.len() / 3;
            let expected = timm.values(stage);
            let got = sampled(&values[..2 * width], expected.len());
            let diff = max_diff(&got, &expected);
            assert!(diff <= 1e-5 * max_abs(&expected), "{stage}: {diff:.2e}");
            assert!(values[2 * width..].iter().all(|v| v.is_nan()), "{stage}");
        }
    }
    // Whole, not sampled: every value of the embeddings was compared.
    assert_eq!(timm.values("pre_logits").len(), 2 * 512);
}

#[test]
fn the_three_formats_hold_the_same_and_name_the_broken_image() {
    let folder = tempfile::tempdir().unwrap();
    let (_, values) = npy(&write(folder.path(), "x.npy", &[]));
    let names = images(folder.path());

    let mut list = csv::Reader::from_path(folder.path().join("x.npy.files.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = list.records().map(Result::unwrap).collect();
    for (i, (row, name)) in rows.iter().zip(&names).enumerate() {
        assert_eq!((&row[0], &row[1]), (i.to_string().as_str(), name.as_str()));
        assert_eq!(row[2].is_empty(), i < 2, "{row:?}");
    }

    let bytes = std::fs::read(write(folder.path(), "x.safetensors", &[])).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let features = tensors.tensor("features").unwrap();
    assert_eq!(features.shape(), [3, 512]);
    let (read, _) = features.data().as_chunks::<4>();
    let bits = |value: &[u8; 4]| u32::from_le_bytes(*value);
    assert!(read.iter().map(bits).eq(values.iter().map(|v| v.to_bits())));
    assert_eq!(tensors.tensor("valid").unwrap().data(), [1, 1, 0]);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    let files: Vec<String> = serde_json::from_str(&metadata["files"]).unwrap();
    assert_eq!(
        (files, metadata["layer"].as_str()),
        (names.clone(), "pre_logits")
    );

    let file = std::fs::File::open(write(folder.path(), "x.parquet", &[])).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    for (i, row) in reader.get_row_iter(None).unwrap().enumerate() {
        let row = row.unwrap();
        assert_eq!(row.get_string(0).unwrap(), &names[i]);
        let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        match fields[1] {
            Field::ListInternal(list) => {
                assert_eq!(fields[2], &Field::Null);
                let expected = values[512 * i..512 * (i + 1)]
                    .iter()
                    .map(|&v| Field::Float(v));
                assert!(list.elements().iter().cloned().eq(expected));
            }
            null => {
                assert_eq!((i, null), (2, &Field::Null));
                assert_eq!(row.get_string(2).unwrap(), &rows[2][2]);
            }
        }
    }
    assert!(!folder.path().join("x.parquet.part").exists());
    assert!(!folder.path().join("x.parquet.files.csv").exists());
}

/// Opened by the libraries their users have, against timm's values: `python/read_features.py`.
#[test]
#[ignore = "needs RESNEST_PYTHON: a Python with numpy, safetensors and pyarrow"]
fn numpy_safetensors_and_pyarrow_open_them() {
    let python = std::env::var_os("RESNEST_PYTHON").unwrap_or_else(|| "python3".into());
    let folder = tempfile::tempdir().unwrap();
    for out in ["x.npy", "x.safetensors", "x.parquet"] {
        write(folder.path(), out, &[]);
    }
    let script = common::root().join("tests/features/read_features.py");
    let output = Command::new(python)
        .args([&script, folder.path(), &reference()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn wrong_use_is_refused_before_a_model_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let photos = common::demo().join("photos").display().to_string();
    std::fs::create_dir(path("empty")).unwrap();
    // No such model: whatever is refused first, it is not for want of it.
    for (arguments, reason) in [
        (
            [&photos, "--out", &path("x.txt")],
            "none of the endings .npy, .safetensors and .parquet",
        ),
        (
            [&path("empty"), "--out", &path("x.npy")],
            "no images in this folder",
        ),
        (
            [&path("*.jpg"), "--out", &path("x.npy")],
            "no file matches this pattern",
        ),
    ] {
        let output = resnest(&[&["features", "--model", "absent"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
    let stage = [
        "features",
        &photos,
        "--model",
        "demo",
        "--stage",
        "layer5",
        "--out",
        &path("x.npy"),
    ];
    let output = resnest(&stage);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("use pre_logits, act1, layer1"),
        "{}",
        stderr(&output)
    );

    let nowhere = [
        "features",
        &photos,
        "--model",
        "demo",
        "--out",
        &path("nowhere/x.npy"),
    ];
    let output = resnest(&nowhere);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("nowhere/x.npy: No such file"),
        "{}",
        stderr(&output)
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_library_gives_the_same_as_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let classifier = Classifier::builder("demo")
        .device(DeviceChoice::Cpu)
        .load()
        .unwrap();
    let bytes: Vec<Vec<u8>> = images(folder.path())
        .iter()
        .map(|p| std::fs::read(p).unwrap())
        .collect();
    let rows = classifier.features(&bytes, Layer::PreLogits);
    assert!(rows[2].is_err());
    let expected = Fixture::read(&reference()).values("pre_logits");
    let got: Vec<f64> = rows[..2]
        .iter()
        .flat_map(|r| r.as_ref().unwrap())
        .map(|&v| v.into())
        .collect();
    assert!(max_diff(&got, &expected) <= 1e-5 * max_abs(&expected));
    for (layer, shape) in [
        ("pre_logits", &[512][..]),
        ("act1", &[32, 24, 24]),
        ("layer4", &[512, 2, 2]),
    ] {
        assert_eq!(
            classifier.feature_shape(layer.parse().unwrap()).unwrap(),
            shape
        );
    }
    assert!(classifier.feature_shape(Layer::Tap(5)).is_err());
}

fn table(rows: usize) -> FeatureTable {
    FeatureTable {
        model: "m".into(),
        layer: "pre_logits".into(),
        shape: vec![3],
        files: (0..rows).map(|i| format!("{i}.jpg")).collect(),
    }
}

#[test]
fn many_rows_come_back_in_order_over_several_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let mut writer = FeatureWriter::create(&path, table(20_000)).unwrap();
    for i in 0..20_000 {
        let row = [i as f32, 0.5, -1.0];
        writer
            .push(if i % 7 == 3 { Err("broken") } else { Ok(&row) })
            .unwrap();
    }
    writer.finish().unwrap();
    let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(reader.metadata().num_row_groups(), 3);
    for (i, row) in reader.get_row_iter(None).unwrap().enumerate() {
        let row = row.unwrap();
        assert_eq!(row.get_string(0).unwrap(), &format!("{i}.jpg"));
        match i % 7 {
            3 => assert_eq!(row.get_string(2).unwrap(), "broken"),
            _ => assert_eq!(
                row.get_list(1).unwrap().elements()[0],
                Field::Float(i as f32)
            ),
        }
    }
}

#[test]
fn a_file_is_not_called_whole_before_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for ending in ["npy", "safetensors", "parquet"] {
        let path = folder.path().join(format!("x.{ending}"));
        let mut writer = FeatureWriter::create(&path, table(2)).unwrap();
        let narrow = writer.push(Ok(&[1.0, 2.0]));
        assert!(matches!(
            narrow,
            Err(WriteError::Width {
                got: 2,
                expected: 3,
                ..
            })
        ));
        writer.push(Ok(&[1.0, 2.0, 3.0])).unwrap();
        let early = writer.finish();
        assert!(matches!(
            early,
            Err(WriteError::Rows {
                written: 1,
                expected: 2
            })
        ));
        assert!(!path.exists());
        let mut writer = FeatureWriter::create(&path, table(1)).unwrap();
        writer.push(Err("broken")).unwrap();
        assert!(matches!(
            writer.push(Err("one too many")),
            Err(WriteError::Rows { .. })
        ));
        writer.finish().unwrap();
        assert!(path.exists());
    }
}

/// The demo model without its classifier, as timm saves a network of `num_classes=0`.
fn headless(folder: &Path) -> String {
    let demo = common::demo();
    let config = std::fs::read(demo.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["num_classes"] = 0.into();
    config["model_args"]["num_classes"] = 0.into();
    config["pretrained_cfg"]["num_classes"] = 0.into();
    config.as_object_mut().unwrap().remove("label_names");
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let bytes = std::fs::read(demo.join("model.safetensors")).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let trunk = all.iter().filter(|(name, _)| !name.starts_with("fc."));
    let path = folder.join("model.safetensors");
    safetensors::serialize_to_file(trunk, None, &path).unwrap();
    format!("local-dir:{}", folder.display())
}

#[test]
fn a_network_without_classes_has_the_same_features_and_classifies_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (headless(folder.path()), folder.path().join("headless.npy"));
    let inputs = images(folder.path());
    let whole = npy(&write(folder.path(), "demo.npy", &[]));
    let path = out.display().to_string();
    let output = resnest(&[
        "features", "--model", &model, "--out", &path, &inputs[0], &inputs[1],
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let (shape, values) = npy(&out);
    assert_eq!(shape, [2, whole.0[1]]);
    let f64s = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
    let error = max_diff(&f64s(&values), &f64s(&whole.1[..values.len()]));
    assert!(error <= 1e-5, "{error:e}");
    // In the library too, on every way, before anything is computed.
    let classifier = Classifier::builder(&model).headless(true).load().unwrap();
    let bytes: Vec<Vec<u8>> = inputs
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    let photo = classifier.decode(&bytes[0]).unwrap();
    let pixels = classifier.preprocess(&bytes[0]).unwrap();
    let x = classifier.pipeline().tensor(&[&pixels]).unwrap();
    let top = Classes::Top(1);
    let none = |what: &str, error: Option<Error>| {
        let error = error.unwrap_or_else(|| panic!("{what} answered"));
        assert!(matches!(error, Error::NoClasses { .. }), "{what}: {error}");
    };
    none("classify", classifier.classify(&bytes[0], 5).err());
    none("classify_image", classifier.classify_image(&photo, 5).err());
    none("classify_tensor", classifier.classify_tensor(&x, 5).err());
    none("logits", classifier.logits(&x).err());
    none("cam", classifier.cam(&bytes[0], &top).err());
    none("cam_image", classifier.cam_image(&photo, &top).err());
    for answer in classifier.classify_images(&[photo.clone(), photo], 5) {
        none("classify_images", answer.err());
    }
    for answer in classifier.logits_batch(&bytes[..2]) {
        none("logits_batch", answer.err());
    }
    let prepared: Vec<Result<_, Error>> = vec![Ok(pixels)];
    let maps = Maps { k: 5, classes: top };
    let answers = classifier.pipeline().answer(prepared, &maps);
    none("maps", answers.into_iter().next().unwrap().err());
    // A broken image keeps its own error.
    let batch = classifier.classify_batch(&bytes, 5);
    assert!(matches!(batch[2], Err(Error::Image(_))));
    for answer in batch.into_iter().take(2) {
        none("classify_batch", answer.err());
    }
    let data = folder.path().join("data/0");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("x.png"), &bytes[0]).unwrap();
    let dataset = Dataset::open(folder.path().join("data")).unwrap();
    let numbered = resnest::Labels::numbered(1);
    let targets = Targets::new(&dataset, &numbered, None, None).unwrap();
    let run = Evaluation::new(&classifier, &dataset, targets, Options::default());
    assert!(matches!(
        run.err(),
        Some(resnest::validate::Error::Compute(Error::NoClasses { .. }))
    ));
    let output = resnest(&["classify", "--model", &model, &inputs[0]]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("num_classes 0"),
        "{}",
        stderr(&output)
    );
}

/// Every file of a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap_or_default())
        })
        .collect();
    all.sort();
    all
}

/// A run of many rows into `out`, begun.
fn long_run(scratch: &Path, out: &Path) -> Child {
    let photo = common::demo()
        .join("photos/chelsea.png")
        .display()
        .to_string();
    let out = out.display().to_string();
    let mut arguments = vec!["features", "--model", "demo", "--out", &out];
    arguments.extend(vec![photo.as_str(); 4000]);
    let said = std::fs::File::create(scratch.join("said")).unwrap();
    let child = command(&arguments).stderr(said).spawn().unwrap();
    let folder = Path::new(&out).parent().unwrap();
    while !contents(folder)
        .iter()
        .any(|(name, _)| name.ends_with(".part"))
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child
}

#[test]
fn a_second_run_is_refused_and_a_killed_one_leaves_the_old_result_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("results");
    std::fs::create_dir(&folder).unwrap();
    let inputs = images(scratch.path());
    for ending in ["npy", "safetensors", "parquet"] {
        let out = folder.join(format!("x.{ending}"));
        let path = out.display().to_string();
        let run = |inputs: &[String]| {
            let mut arguments = vec!["features", "--model", "demo", "--out", &path];
            arguments.extend(inputs.iter().map(String::as_str));
            resnest(&arguments)
        };
        assert_eq!(run(&inputs[..2]).status.code(), Some(0));
        let old = contents(&folder);
        let mut first = long_run(scratch.path(), &out);
        let second = run(&inputs[..1]);
        assert_eq!(second.status.code(), Some(1), "{}", stderr(&second));
        let said = stderr(&second);
        assert!(
            said.contains(&path) && said.contains("another run"),
            "{said}"
        );
        assert!(
            first.try_wait().unwrap().is_none(),
            "it was to be longer than that"
        );
        first.kill().unwrap();
        first.wait().unwrap();
        let after = contents(&folder);
        assert!(
            old.iter().all(|file| after.contains(file)),
            "{ending}: the old files"
        );
        // One that fails leaves all as it was, and what the dead one has left goes.
        let failing = ["features", "--model", "absent", "--out", &path, &inputs[0]];
        assert_eq!(resnest(&failing).status.code(), Some(3));
        let kept = contents(&folder);
        let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
            files.iter().map(|(name, _)| name.clone()).collect()
        };
        assert!(old.iter().all(|file| kept.contains(file)));
        assert_eq!(run(&inputs[..1]).status.code(), Some(0));
        assert_eq!(names(&contents(&folder)), names(&old), "{ending}");
        assert_ne!(contents(&folder), old);
        for (name, _) in contents(&folder) {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
    }
}

/// A disk that is full: as the system says it of files larger than a process may write.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_leaves_the_old_result() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("results");
    std::fs::create_dir(&folder).unwrap();
    let inputs = images(scratch.path());
    let path = folder.join("x.npy").display().to_string();
    let run = ["features", "--model", "demo", "--out", &path, &inputs[0]];
    assert_eq!(resnest(&run).status.code(), Some(0));
    let old = contents(&folder);
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_resnest"))
        .args([&run[..], &["--stage", "layer1"]].concat())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("cannot write"),
        "{}",
        stderr(&output)
    );
    assert_eq!(contents(&folder), old);
}
