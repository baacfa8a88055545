//! Several downloads of one file at once, and other holders of its lock.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use resnest_loader::hub::{Hub, HubError};

use crate::common::{REPO, WEIGHTS, World, options};
use crate::server::{Fault, sha256};

const ENDPOINT: &str = "RESNEST_TEST_HUB_ENDPOINT";
const CACHE: &str = "RESNEST_TEST_HUB_CACHE";

/// The body of the processes that the next tests start; alone it has nothing to do.
#[test]
#[ignore = "run by other tests, as a process of its own"]
fn child_process_downloads() {
    let (Ok(endpoint), Some(cache)) = (std::env::var(ENDPOINT), std::env::var_os(CACHE)) else {
        return;
    };
    let options = options(&endpoint, cache.as_ref(), &Arc::default());
    let located = Hub::new(options)
        .unwrap()
        .locate(REPO, None, WEIGHTS)
        .unwrap();
    let hash = sha256(&fs::read(located.path).unwrap());
    println!("child {} {hash}", located.downloaded);
}

fn child(world: &World) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "processes::child_process_downloads",
            "--nocapture",
        ])
        .env(ENDPOINT, world.server.endpoint())
        .env(CACHE, world.cache.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_process_leaves_a_partial_file_that_the_next_goes_on_from() {
    let world = World::new();
    let stall = Fault::Stall(200_000, Duration::from_secs(10));
    world.server.fault("GET", &sha256(&world.weights), [stall]);
    let mut child = child(&world);
    let blobs = world.cache.path().join("models--timm--resnest/blobs");
    let partial = blobs.join(sha256(&world.weights) + ".incomplete");
    let start = Instant::now();
    while fs::metadata(&partial).map_or(0, |found| found.len()) < 200_000 {
        assert!(start.elapsed() < Duration::from_secs(5), "nothing arrives");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let names: Vec<_> = world.tree();
    assert_eq!(
        names,
        [format!("blobs/{}.incomplete", sha256(&world.weights))]
    );
    let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
    let last = world.server.gets().pop().unwrap();
    assert_eq!((last.range, last.sent), (Some(200_000), 100_000));
}

#[test]
fn processes_at_once_share_one_download() {
    let world = World::new();
    // The first to come is held up while the others arrive.
    let slow = Fault::Stall(1000, Duration::from_millis(200));
    world.server.fault("GET", &sha256(&world.weights), [slow]);
    let children: Vec<_> = (0..3).map(|_| child(&world)).collect();
    let mut downloads = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(text.contains(&sha256(&world.weights)), "{text}");
        downloads += usize::from(text.contains("child true"));
    }
    assert_eq!(downloads, 1);
    let served: u64 = world.server.gets().iter().map(|get| get.sent).sum();
    assert_eq!(served, 300_000, "one download, its cut part not repeated");
}

#[test]
fn threads_at_once_share_one_download() {
    let world = World::new();
    let hub = world.hub();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let path = hub.file(REPO, None, WEIGHTS).unwrap();
                assert_eq!(fs::read(path).unwrap(), world.weights);
            });
        }
    });
    assert_eq!(world.server.gets().len(), 1);
}

#[test]
fn a_holder_that_does_not_get_on_is_reported() {
    let world = World::new();
    let hub = world.hub_with(|options| options.lock_timeout = Duration::from_millis(200));
    hub.file(REPO, None, "config.json").unwrap();
    let name = format!("models--timm--resnest/{}.lock", sha256(&world.weights));
    let path = world.cache.path().join(".locks").join(name);
    let held = File::create(&path).unwrap();
    held.lock().unwrap();
    let error = hub.file(REPO, None, WEIGHTS).unwrap_err();
    assert!(matches!(error, HubError::Locked { .. }), "{error}");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    assert!(world.warnings().contains("waiting"), "{}", world.warnings());
    drop(held);
    hub.file(REPO, None, WEIGHTS).unwrap();
}
