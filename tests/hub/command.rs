//! The command against the local hub, as a user runs it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::common::WEIGHTS;
use crate::fixture::root::root;
use crate::server::{COMMIT, Fault, Server, sha256};

/// What `resnest` with these variables besides says of the demo model's repository.
fn download_with(server: &Server, home: &Path, variables: &[(&str, &OsStr)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resnest"));
    command
        .args(["download", "hf-hub:acme/demo"])
        .env("HF_ENDPOINT", server.endpoint())
        .env("HF_HOME", home)
        .env("NO_PROXY", "*");
    for name in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"] {
        command.env_remove(name);
    }
    for (name, value) in variables {
        command.env(name, value);
    }
    command.output().unwrap()
}

/// The demo model as a repository on the hub.
fn hub_with_demo() -> Server {
    let server = Server::start();
    put_demo(&server, "acme/demo", resnest::demo::CONFIG.as_bytes());
    server
}

fn put_demo(server: &Server, repo: &str, config: &[u8]) {
    server.put(repo, COMMIT, "config.json", config, false);
    server.put(repo, COMMIT, WEIGHTS, resnest::demo::WEIGHTS, true);
}

pub fn resnest(server: &Server, home: &Path, arguments: &[&str]) -> Output {
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
    let photo = root().join("crates/resnest/demo/photos/chelsea.png");
    let photo = photo.to_str().unwrap();
    let base = [
        "classify", "--format", "csv", "--topk", "1", photo, "--model",
    ];
    resnest(server, home, &[&base[..], options].concat())
}

pub fn text(bytes: &[u8]) -> &str {
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

#[test]
#[cfg(target_os = "linux")] // macOS has no file names that are not UTF-8
fn a_cache_whose_name_is_not_utf8_is_the_cache() {
    use std::os::unix::ffi::OsStrExt;
    let (server, home) = (hub_with_demo(), tempfile::tempdir().unwrap());
    let cache = home.path().join(OsStr::from_bytes(b"caf\xe9"));
    let set = [("HF_HUB_CACHE", cache.as_os_str())];
    let output = download_with(&server, home.path(), &set);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(cache.join("models--acme--demo/snapshots").is_dir());
    assert!(
        !home.path().join("hub").exists(),
        "the default cache was used"
    );
    let gets = server.gets().len();
    let again = download_with(&server, home.path(), &set);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert_eq!(server.gets().len(), gets, "nothing is fetched twice");
}

#[test]
fn a_token_that_cannot_be_sent_is_refused_at_once_by_name() {
    let (server, home) = (hub_with_demo(), tempfile::tempdir().unwrap());
    for value in ["hf_secr\u{e9}t", "hf_secr t"] {
        let start = Instant::now();
        let set = [("HF_TOKEN", OsStr::new(value))];
        let output = download_with(&server, home.path(), &set);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        let told = text(&output.stderr);
        assert!(
            told.contains("HF_TOKEN") && !told.contains("secr"),
            "{told}"
        );
        assert!(server.seen().is_empty());
    }
    server.require_token("hf_right");
    let set = [("HF_TOKEN", OsStr::new(" hf_right\n"))];
    let output = download_with(&server, home.path(), &set);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_broken_file_of_the_cache_is_named_and_fetched_again_once_deleted() {
    let (server, home) = (hub_with_demo(), tempfile::tempdir().unwrap());
    let model = ["hf-hub:acme/demo"];
    let output = classify(&server, home.path(), &model);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let blobs = home.path().join("hub/models--acme--demo/blobs");
    let weights = sha256(resnest::demo::WEIGHTS);
    for (name, length) in [(weights, resnest::demo::WEIGHTS.len())]
        .into_iter()
        .chain([(
            crate::server::git_hash(resnest::demo::CONFIG.as_bytes()),
            resnest::demo::CONFIG.len(),
        )])
    {
        let blob = blobs.join(name);
        // as long as it should be, so that nothing else can show
        std::fs::write(&blob, vec![b'x'; length]).unwrap();
        let output = classify(&server, home.path(), &model);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        let told = text(&output.stderr);
        let way_out = format!("delete {}", std::fs::canonicalize(&blob).unwrap().display());
        assert!(told.contains(&way_out), "{told}");
        std::fs::remove_file(&blob).unwrap();
        let output = classify(&server, home.path(), &model);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}

#[test]
fn a_host_that_does_not_resolve_is_told_with_what_is_tried() {
    let (server, home) = (hub_with_demo(), tempfile::tempdir().unwrap());
    let set = [("HF_ENDPOINT", OsStr::new("http://no-such-hub.invalid"))];
    let start = Instant::now();
    let output = download_with(&server, home.path(), &set);
    // 34 s before; a lookup may take its time, twice
    assert!(
        start.elapsed() < Duration::from_secs(25),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    let says = "http://no-such-hub.invalid/acme/demo/resolve/main/config.json: the name no-such-hub.invalid does not resolve";
    assert!(told.contains(&format!("warning: {says}")), "{told}");
}

const BARRED: &str = "licensed under cc-by-nc-4.0: not for commercial use";

#[test]
fn weights_that_are_not_for_commerce_come_with_a_word_of_it() {
    let (server, home) = (Server::start(), tempfile::tempdir().unwrap());
    // `download` does not open what it brings: a few bytes will do.
    for tag in ["resnet18.fb_swsl_ig1b_ft_in1k", "resnet18.a1_in1k"] {
        server.put(
            &format!("timm/{tag}"),
            COMMIT,
            WEIGHTS,
            tag.as_bytes(),
            true,
        );
    }
    let told = |options: &[&str]| {
        let fresh = tempfile::tempdir().unwrap();
        let output = resnest(&server, fresh.path(), &[&["download"], options].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stderr).to_owned()
    };
    let barred = told(&["resnet18.fb_swsl_ig1b_ft_in1k"]);
    let whole = format!("warning: the weights of resnet18.fb_swsl_ig1b_ft_in1k are {BARRED}");
    assert!(barred.contains(&whole), "{barred}");
    let old_name = told(&["swsl_resnet18"]);
    assert!(old_name.contains(&whole), "{old_name}");
    assert!(
        old_name.contains("'swsl_resnet18' is an old name"),
        "{old_name}"
    );
    assert_eq!(told(&["swsl_resnet18", "--quiet"]), "");
    assert_eq!(told(&["resnet18.a1_in1k"]), "");

    // `classify` says it too when it is what brings them, and not each time it uses them.
    let mut config: serde_json::Value = serde_json::from_str(resnest::demo::CONFIG).unwrap();
    config["pretrained_cfg"]["license"] = "cc-by-nc-4.0".into();
    put_demo(&server, "acme/barred", config.to_string().as_bytes());
    for says in [true, false] {
        let output = classify(&server, home.path(), &["hf-hub:acme/barred"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let told = text(&output.stderr);
        assert_eq!(
            told.contains(&format!("acme/barred are {BARRED}")),
            says,
            "{told}"
        );
    }
}

#[test]
fn a_model_that_timm_has_dropped_is_answered_with_what_to_use_instead() {
    let (server, home) = (Server::start(), tempfile::tempdir().unwrap());
    let output = classify(&server, home.path(), &["ig_resnext101_32x48d"]);
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    assert!(
        told.contains("timm has dropped the model 'ig_resnext101_32x48d'"),
        "{told}"
    );
    assert!(
        told.contains("use resnext101_32x32d.fb_wsl_ig1b_ft_in1k"),
        "{told}"
    );
    assert!(server.seen().is_empty(), "nothing is asked of the hub");
}
