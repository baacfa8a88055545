//! The command against the local hub, as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

use crate::server::{COMMIT, Fault, Server, sha256};

/// The demo model as a repository on the hub.
fn hub_with_demo() -> Server {
    let server = Server::start();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/resnest/demo");
    for (name, lfs) in [("config.json", false), ("model.safetensors", true)] {
        let bytes = std::fs::read(demo.join(name)).unwrap();
        server.put("acme/demo", COMMIT, name, &bytes, lfs);
    }
    server
}

fn resnest(server: &Server, home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_resnest"))
        .args(arguments)
        .env("HF_ENDPOINT", server.endpoint())
        .env("HF_HOME", home)
        .env("NO_PROXY", "*")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .output()
        .unwrap()
}

fn classify(server: &Server, home: &Path, options: &[&str]) -> Output {
    let photo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/resnest/demo/photos/chelsea.png"
    );
    let base = [
        "classify", "--format", "csv", "--topk", "1", photo, "--model",
    ];
    resnest(server, home, &[&base[..], options].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_model_is_downloaded_once_and_then_works_offline() {
    let (server, home) = (hub_with_demo(), tempfile::tempdir().unwrap());
    let download = resnest(&server, home.path(), &["download", "hf-hub:acme/demo"]);
    assert_eq!(
        download.status.code(),
        Some(0),
        "{}",
        text(&download.stderr)
    );
    let path = text(&download.stdout)
        .trim()
        .split('\t')
        .next_back()
        .unwrap();
    assert!(
        Path::new(path).starts_with(home.path().join("hub/models--acme--demo/snapshots")),
        "{path}"
    );
    let before = server.seen().len();
    let offline = classify(&server, home.path(), &["hf-hub:acme/demo", "--offline"]);
    assert_eq!(offline.status.code(), Some(0), "{}", text(&offline.stderr));
    assert!(
        text(&offline.stdout).contains(",cat,"),
        "{}",
        text(&offline.stdout)
    );
    let pinned = classify(
        &server,
        home.path(),
        &["hf-hub:acme/demo", "--revision", COMMIT],
    );
    assert_eq!(pinned.status.code(), Some(0), "{}", text(&pinned.stderr));
    assert_eq!(server.seen().len(), before, "neither asks the hub anything");
}

#[test]
fn what_the_hub_refuses_ends_with_status_3_and_a_way_out() {
    let (server, home) = (hub_with_demo(), tempfile::tempdir().unwrap());
    let absent = classify(&server, home.path(), &["hf-hub:acme/none"]);
    assert_eq!(absent.status.code(), Some(3));
    assert!(
        text(&absent.stderr).contains("acme/none"),
        "{}",
        text(&absent.stderr)
    );
    let revision = classify(&server, home.path(), &["hf-hub:acme/demo@v9"]);
    assert_eq!(revision.status.code(), Some(3));
    assert!(
        text(&revision.stderr).contains("v9"),
        "{}",
        text(&revision.stderr)
    );
    server.require_token("hf_secret");
    let private = classify(&server, home.path(), &["hf-hub:acme/demo"]);
    assert_eq!(private.status.code(), Some(3));
    assert!(
        text(&private.stderr).contains("HF_TOKEN"),
        "{}",
        text(&private.stderr)
    );
    assert!(text(&private.stdout).is_empty());
}

#[test]
fn a_cut_download_is_resumed_by_the_same_command() {
    let (server, home) = (hub_with_demo(), tempfile::tempdir().unwrap());
    let blob = sha256(resnest::demo::WEIGHTS);
    server.fault("GET", &blob, [Fault::Cut(1_000_000), Fault::Cut(500_000)]);
    let output = classify(&server, home.path(), &["hf-hub:acme/demo"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(",cat,"));
    let starts: Vec<_> = server
        .gets()
        .iter()
        .filter(|get| get.path.contains(&blob))
        .map(|get| get.range)
        .collect();
    assert_eq!(starts, [None, Some(1_000_000), Some(1_500_000)]);
}

#[test]
fn bench_downloads_what_it_measures_and_goes_on_after_what_it_cannot() {
    let (server, home) = (hub_with_demo(), tempfile::tempdir().unwrap());
    let names = ["hf-hub:acme/none", "hf-hub:acme/demo"];
    let mut arguments = vec!["bench", "--format", "json", "--duration", "0.01"];
    arguments.extend(names.iter().flat_map(|name| ["--model", name]));
    let output = resnest(&server, home.path(), &arguments);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let results: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!([0, 1].map(|i| results[i]["model"].as_str().unwrap()), names);
    assert!(results[0]["error"].as_str().unwrap().contains("acme/none"));
    assert!(text(&output.stderr).contains("acme/none"));
    assert!(results[1]["images_per_second"].as_f64().unwrap() > 0.0);
    assert!(
        home.path()
            .join("hub/models--acme--demo/snapshots")
            .is_dir()
    );
}
