//! The server and the cache against Python's huggingface_hub, the protocol's real client.
//!
//! Ignored unless asked for (`cargo test --test hub -- --ignored python::`), as they need a Python with
//! huggingface_hub: the one that `RESNEST_PYTHON` names, else `python3`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{REPO, WEIGHTS, World};
use crate::fixture::root::root;
use crate::server::{COMMIT, Fault, sha256};

/// An interpreter with huggingface_hub, run with no variable of the hub's set.
fn python() -> Command {
    let name = std::env::var_os("RESNEST_PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&name)
        .args(["-c", "import huggingface_hub"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    assert!(
        found,
        "no huggingface_hub in {}; set RESNEST_PYTHON to a Python that has it",
        name.to_string_lossy()
    );
    let mut command = Command::new(name);
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy().to_ascii_uppercase();
        if name.starts_with("HF_") || name.starts_with("HUGGING") || name.ends_with("_PROXY") {
            command.env_remove(variable);
        }
    }
    command
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .arg(root().join("tests/hub/check_server.py"));
    command
}

fn run(world: &World, mut python: Command, mode: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = python
        .arg(mode)
        .env("HF_ENDPOINT", world.server.endpoint())
        .env("HF_HOME", world.cache.path().join("home"))
        .env("HF_HUB_CACHE", world.cache.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{mode}: {stderr}");
    String::from_utf8(stdout).unwrap()
}

#[test]
#[ignore = "needs a Python with huggingface_hub: RESNEST_PYTHON"]
fn the_server_passes_for_a_hub_and_its_cache_is_ours() {
    let python = python();
    let world = World::new();
    world.server.set_ref(REPO, "refs/pr/1", COMMIT);
    let report = run(&world, python, "download");
    for line in [
        format!("config.json {}", sha256(b"{\"a\": 1}\n")),
        format!("sub dir/labels.txt {}", sha256(b"cat\ndog\n")),
        format!("{WEIGHTS} {}", sha256(&world.weights)),
        "absent.bin RemoteEntryNotFoundError".to_owned(),
        "revision v9 RevisionNotFoundError".to_owned(),
        "repository no/body RepositoryNotFoundError".to_owned(),
        format!("size {WEIGHTS} 300000"),
        format!("etag {WEIGHTS} {}", sha256(&world.weights)),
    ] {
        assert!(
            report.lines().any(|got| got == line),
            "{line:?} in:\n{report}"
        );
    }

    let offline = world.hub_with(|options| options.offline = true);
    for revision in [None, Some("refs/pr/1"), Some(COMMIT)] {
        let path = offline.file(REPO, revision, WEIGHTS).unwrap();
        assert_eq!(fs::read(path).unwrap(), world.weights);
    }
    // Python's note that the file does not exist is read as well.
    assert_eq!(offline.try_file(REPO, None, "absent.bin").unwrap(), None);
    // And what Python fetched is not fetched again.
    assert!(!world.hub().locate(REPO, None, WEIGHTS).unwrap().downloaded);
}

#[test]
#[ignore = "needs a Python with huggingface_hub: RESNEST_PYTHON"]
fn python_uses_what_we_fetched() {
    let python = python();
    let world = World::new();
    world.server.set_ref(REPO, "refs/pr/1", COMMIT);
    let hub = world.hub();
    for file in ["config.json", "sub dir/labels.txt", WEIGHTS] {
        hub.file(REPO, None, file).unwrap();
    }
    hub.file(REPO, Some("refs/pr/1"), WEIGHTS).unwrap();
    assert_eq!(hub.try_file(REPO, None, "absent.bin").unwrap(), None);
    let before = world.server.gets().len();
    let report = run(&world, python, "read");
    for line in [
        format!("config.json {}", sha256(b"{\"a\": 1}\n")),
        format!("sub dir/labels.txt {}", sha256(b"cat\ndog\n")),
        format!("{WEIGHTS} {}", sha256(&world.weights)),
        format!("refs/pr/1 {}", sha256(&world.weights)),
        "absent.bin known not to exist".to_owned(),
        // scan_cache_dir walks blobs, links and references, and complains of what is odd.
        format!("scan 1 repositories, commits {COMMIT}, refs main refs/pr/1, 0 warnings"),
        "online download reuses the blob".to_owned(),
    ] {
        assert!(
            report.lines().any(|got| got == line),
            "{line:?} in:\n{report}"
        );
    }
    assert_eq!(world.server.gets().len(), before, "Python fetched nothing");
}

#[test]
#[ignore = "needs a Python with huggingface_hub: RESNEST_PYTHON"]
fn python_and_we_at_once_make_one_good_blob() {
    let python = python();
    let world = World::new();
    world.server.set_ref(REPO, "refs/pr/1", COMMIT);
    // Whoever comes first is held up until the other is there.
    let slow = Fault::Stall(1000, Duration::from_millis(600));
    world.server.fault("GET", &sha256(&world.weights), [slow]);
    let hub = world.hub();
    let report = thread::scope(|scope| {
        let theirs = scope.spawn(|| run(&world, python, "download"));
        for _ in 0..3 {
            let path = hub.file(REPO, None, WEIGHTS).unwrap();
            assert_eq!(fs::read(path).unwrap(), world.weights);
        }
        theirs.join().unwrap()
    });
    let line = format!("{WEIGHTS} {}", sha256(&world.weights));
    assert!(report.lines().any(|got| got == line), "{report}");
    assert!(
        !world
            .tree()
            .iter()
            .any(|path| path.ends_with(".incomplete"))
    );
}

#[test]
#[ignore = "needs a Python with huggingface_hub: RESNEST_PYTHON"]
fn pythons_lock_keeps_us_waiting() {
    let mut python = python();
    let world = World::new();
    let hub = world.hub();
    hub.file(REPO, None, "config.json").unwrap();
    let name = format!("models--timm--resnest/{}.lock", sha256(&world.weights));
    let mut child = python
        .args(["hold", "0.6"])
        .arg(world.cache.path().join(".locks").join(name))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "held");
    let start = Instant::now();
    hub.file(REPO, None, WEIGHTS).unwrap();
    assert!(
        start.elapsed() > Duration::from_millis(400),
        "{:?}",
        start.elapsed()
    );
    assert!(child.wait().unwrap().success());
}
