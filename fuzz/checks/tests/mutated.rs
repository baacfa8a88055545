//! The fuzz targets over a bounded number of mutated files: what `cargo fuzz` does without end, in the test suite.
//!
//! `RESNEST_FUZZ_RUNS` gives another number of runs a target (default 4,000), `RESNEST_FUZZ_SEED` other mutations. A file that
//! fails is kept in the system's temporary folder and named.

mod common;

use std::path::{Path, PathBuf};

use common::{Mutator, from_environment, peak_during};
use resnest_fuzz_checks as checks;
use resnest_image::{Limits, decode};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of a folder with one of these endings, small ones only: a mutation should hit something.
fn seeds(folder: &str, endings: &[&str]) -> Vec<Vec<u8>> {
    let folder = repository().join(folder);
    let mut paths: Vec<PathBuf> = (folder.read_dir().expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            endings.contains(&ending)
        })
        .collect();
    paths.sort();
    let files = paths
        .iter()
        .map(|path| std::fs::read(path).expect("a file"));
    files.filter(|bytes| bytes.len() < 64 << 10).collect()
}

/// Runs a target over mutations of `seeds`, and each seed as it is.
fn run(name: &str, target: fn(&[u8]), seeds: Vec<Vec<u8>>) {
    assert!(!seeds.is_empty(), "no seeds for {name}");
    for seed in &seeds {
        target(seed);
    }
    let mut mutator = Mutator::new(from_environment("RESNEST_FUZZ_SEED", 1));
    for at in 0..from_environment("RESNEST_FUZZ_RUNS", 4000) {
        let bytes = mutator.mutate(&seeds);
        if std::panic::catch_unwind(|| target(&bytes)).is_err() {
            let path = std::env::temp_dir().join(format!("resnest-fuzz-{name}-{at}"));
            std::fs::write(&path, &bytes).expect("the file that fails");
            panic!("{name}: run {at} failed on {}", path.display());
        }
    }
}

fn pictures(ending: &[&str]) -> Vec<Vec<u8>> {
    let mut all = seeds("crates/resnest-image/tests/pillow/files", ending);
    all.extend(seeds("crates/resnest-image/tests/pillow/cases", ending));
    all
}

#[test]
fn jpeg() {
    run("jpeg", checks::jpeg, pictures(&["jpg", "jpeg"]));
}

#[test]
fn png() {
    run("png", checks::png, pictures(&["png"]));
}

#[test]
fn webp() {
    run("webp", checks::webp, pictures(&["webp"]));
}

#[test]
fn gif() {
    run("gif", checks::gif, pictures(&["gif"]));
}

#[test]
fn bmp() {
    run("bmp", checks::bmp, pictures(&["bmp"]));
}

#[test]
fn tiff() {
    run("tiff", checks::tiff, pictures(&["tif", "tiff"]));
}

#[test]
fn pnm() {
    run("pnm", checks::pnm, pictures(&["pnm"]));
}

#[test]
fn tga() {
    run("tga", checks::tga, pictures(&["tga"]));
}

#[test]
fn qoi() {
    run("qoi", checks::qoi, pictures(&["qoi"]));
}

#[test]
fn ico() {
    run("ico", checks::ico, pictures(&["ico"]));
}

const CHECKPOINTS: &str = "crates/resnest-loader/tests/checkpoints/fixtures";

#[test]
fn safetensors() {
    run(
        "safetensors",
        checks::safetensors,
        seeds(CHECKPOINTS, &["safetensors"]),
    );
}

/// torch's two formats: an archive begins with a zip's local header.
fn torch(archives: bool) -> Vec<Vec<u8>> {
    let mut all = seeds(CHECKPOINTS, &["pth", "tar"]);
    all.retain(|bytes| bytes.starts_with(b"PK") == archives);
    all
}

#[test]
fn pickle() {
    run("pickle", checks::pickle, torch(false));
}

#[test]
fn zip() {
    run("zip", checks::zip, torch(true));
}

#[test]
fn config() {
    run(
        "config",
        checks::config,
        seeds("crates/resnest/demo", &["json"]),
    );
}

#[test]
fn manifest() {
    // A few entries of the product's own: the whole would take a second a run.
    let text =
        std::fs::read_to_string(repository().join("weights-manifest.toml")).expect("the manifest");
    let head = text.find("[[").expect("an entry");
    let entries: Vec<&str> = text[head..].split_inclusive("\n\n").collect();
    let seeds = entries.chunks(3).take(40);
    run(
        "manifest",
        checks::manifest,
        seeds
            .map(|some| (text[..head].to_owned() + &some.concat()).into_bytes())
            .collect(),
    );
}

#[test]
fn npy() {
    let mut mutator = Mutator::new(7);
    let seeds = (0..16).map(|_| mutator.bytes(600)).collect();
    run("npy", checks::npy, seeds);
}

/// A request of the protocol, with this JSON before binary data, or JSON alone.
fn request(json: &str, binary: Option<&[u8]>) -> Vec<u8> {
    let length = binary.map_or(u16::MAX, |_| json.len() as u16);
    [
        &length.to_le_bytes()[..],
        json.as_bytes(),
        binary.unwrap_or_default(),
    ]
    .concat()
}

#[test]
fn tensors() {
    let files = b"\x03\0\0\0one\0\0\0\0\x05\0\0\0three";
    let numbers: Vec<u8> = [0.0f32, -1.5, f32::NAN, 3e38]
        .map(f32::to_le_bytes)
        .concat();
    let seeds = vec![
        request(
            r#"{"id":"a","inputs":[{"name":"image","shape":[2],"datatype":"BYTES","parameters":{"content_type":"base64"},"data":["aGk=","data:image/png;base64,aG8="]}],"outputs":[{"name":"logits","parameters":{"classification":3,"binary_data":false}}]}"#,
            None,
        ),
        request(
            r#"{"inputs":[{"name":"image","shape":[3],"datatype":"BYTES","parameters":{"binary_data_size":20}}]}"#,
            Some(files),
        ),
        request(
            r#"{"inputs":[{"name":"tensor","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}],"parameters":{"binary_data_output":true}}"#,
            Some(&numbers),
        ),
        request(
            r#"{"inputs":[{"name":"tensor","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[-3e2,0.1]]},{"name":"pixels","shape":[1,2,1,1],"datatype":"UINT8","data":[[[[1],[255]]]]}]}"#,
            None,
        ),
        request("", Some(b"one image")),
    ];
    run("tensors", checks::tensors, seeds);
}

#[test]
fn upload() {
    let form = b"\x00--edge\r\nContent-Disposition: form-data; name=\"a\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\nfirst\r\n--edge\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n\r\n-edge\r\n--edge--\r\n";
    let json = br#"?{"inputs": ["aGk=", "data:image/png;base64,aG8="], "parameters": {"top_k": 2, "function_to_apply": "sigmoid"}}"#;
    let mut json = json.to_vec();
    json[0] = 1;
    let seeds = vec![
        form.to_vec(),
        json,
        b"\x01{\"inputs\": \"aGk=\"}".to_vec(),
        b"\x02a file".to_vec(),
    ];
    run("upload", checks::upload, seeds);
}

/// What the limits allow is what decoding takes: the Rust allocations of a decode stay below `max_memory`.
#[test]
fn decoding_stays_within_its_memory() {
    let seeds = pictures(&[
        "jpg", "png", "gif", "bmp", "tif", "pnm", "tga", "qoi", "ico",
    ]);
    let mut mutator = Mutator::new(from_environment("RESNEST_FUZZ_SEED", 1));
    let mut limits = Limits::default();
    limits.max_bytes = 1 << 20;
    limits.max_pixels = 1 << 20;
    limits.max_memory = 2 << 20;
    for at in 0..from_environment("RESNEST_FUZZ_RUNS", 4000) {
        let bytes = mutator.mutate(&seeds);
        let peak = peak_during(|| drop(decode(&bytes, &limits)));
        // Tables, row buffers and error texts are beside the estimate.
        let allowed = limits.max_memory as usize + (256 << 10) + bytes.len();
        if peak > allowed {
            let path = std::env::temp_dir().join(format!("resnest-fuzz-memory-{at}"));
            std::fs::write(&path, &bytes).expect("the file that fails");
            panic!("{peak} bytes, not {allowed}, for {}", path.display());
        }
    }
}
