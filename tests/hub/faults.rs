//! Transfers that are cut, stalled, or bring something else than was asked for.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use resnest_loader::hub::HubError;

use crate::common::{REPO, WEIGHTS, World};
use crate::server::{Fault, sha256};

/// The end of the weights' address on the CDN.
fn blob_of(world: &World) -> String {
    sha256(&world.weights)
}

fn partial_of(world: &World) -> PathBuf {
    let blobs = world.cache.path().join("models--timm--resnest/blobs");
    blobs.join(blob_of(world) + ".incomplete")
}

/// No blob and no snapshot of the weights may exist under a final name.
fn assert_nothing_final(world: &World) {
    for path in world.tree() {
        assert!(
            path.ends_with(".incomplete") || path.starts_with("refs/"),
            "{path} has its final name"
        );
    }
}

#[test]
fn a_cut_download_goes_on_where_it_ended() {
    let world = World::new();
    let cuts = [Fault::Cut(1), Fault::Cut(70_000), Fault::Cut(0)];
    world.server.fault("GET", &blob_of(&world), cuts);
    let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
    let gets = world.server.gets();
    let ranges: Vec<_> = gets.iter().map(|get| get.range).collect();
    assert_eq!(ranges, [None, Some(1), Some(70_001), Some(70_001)]);
    let served: u64 = gets.iter().map(|get| get.sent).sum();
    assert_eq!(served, world.weights.len() as u64, "no byte twice");
}

#[test]
fn a_later_call_goes_on_from_the_partial_file() {
    let world = World::new();
    world
        .server
        .fault("GET", &blob_of(&world), [Fault::Cut(123_456)]);
    let once = world.hub_with(|options| options.retries = 0);
    let error = once.file(REPO, None, WEIGHTS).unwrap_err();
    assert!(
        matches!(error, HubError::Cut { got: 123_456, .. }),
        "{error}"
    );
    assert_nothing_final(&world);
    assert_eq!(
        fs::read(partial_of(&world)).unwrap(),
        world.weights[..123_456]
    );

    let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
    assert_eq!(world.server.gets()[1].range, Some(123_456));
    assert!(!partial_of(&world).exists());
}

#[test]
fn a_server_that_always_cuts_ends_in_an_error_that_keeps_what_came() {
    let world = World::new();
    let cuts = std::iter::repeat_n(Fault::Cut(10), 50);
    world.server.fault("GET", &blob_of(&world), cuts);
    let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
    assert!(
        matches!(
            error,
            HubError::Cut {
                got: 40,
                attempts: 4,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("300000"), "{error}");
    assert_nothing_final(&world);
}

#[test]
fn cuts_that_come_after_progress_do_not_use_up_the_attempts() {
    let world = World::new();
    // Four cuts with one retry allowed: each attempt brings 70 000 bytes.
    let cuts = std::iter::repeat_n(Fault::Cut(70_000), 4);
    world.server.fault("GET", &blob_of(&world), cuts);
    let hub = world.hub_with(|options| options.retries = 1);
    let path = hub.file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
}

#[test]
fn a_server_that_ignores_the_range_is_read_from_the_start() {
    let world = World::new();
    let faults = [Fault::Cut(50_000), Fault::IgnoreRange];
    world.server.fault("GET", &blob_of(&world), faults);
    let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
    assert_eq!(world.server.gets()[1].sent, 300_000);
}

#[test]
fn a_range_that_starts_elsewhere_is_not_believed() {
    let world = World::new();
    let faults = [Fault::Cut(50_000), Fault::WrongRange];
    world.server.fault("GET", &blob_of(&world), faults);
    let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
    let ranges: Vec<_> = world.server.gets().iter().map(|get| get.range).collect();
    assert_eq!(ranges, [None, Some(50_000), None]);
}

#[test]
fn a_partial_file_of_wrong_bytes_or_length_is_replaced() {
    for bad in [vec![b'x'; 1000], vec![b'x'; 300_000], vec![b'x'; 400_000]] {
        let world = World::new();
        fs::create_dir_all(partial_of(&world).parent().unwrap()).unwrap();
        fs::write(partial_of(&world), bad).unwrap();
        let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
        assert_eq!(fs::read(path).unwrap(), world.weights);
        assert!(!partial_of(&world).exists());
    }
}

#[test]
fn silence_ends_an_attempt_and_the_next_goes_on() {
    let world = World::new();
    let stall = Fault::Stall(100_000, Duration::from_secs(5));
    world.server.fault("GET", &blob_of(&world), [stall]);
    let start = Instant::now();
    let hub = world.hub_with(|options| options.read_timeout = Duration::from_millis(300));
    let path = hub.file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(world.server.gets()[1].range, Some(100_000));
}

#[test]
fn a_trickle_counts_as_silence() {
    let world = World::new();
    let drip = Fault::Drip(100_000, Duration::from_millis(20));
    world.server.fault("GET", &blob_of(&world), [drip]);
    let start = Instant::now();
    let hub = world.hub_with(|options| options.read_timeout = Duration::from_millis(300));
    let path = hub.file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert!(
        world.warnings().contains("bytes a second"),
        "{}",
        world.warnings()
    );
}

#[test]
fn wrong_bytes_are_thrown_away_and_asked_for_once_more() {
    let world = World::new();
    world
        .server
        .fault("GET", &blob_of(&world), [Fault::WrongBytes]);
    let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
    assert!(world.warnings().contains("sha256"), "{}", world.warnings());
}

#[test]
fn wrong_bytes_twice_are_an_error_with_both_hashes() {
    let world = World::new();
    let twice = [Fault::WrongBytes, Fault::WrongBytes];
    world.server.fault("GET", &blob_of(&world), twice);
    let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
    let wrong: Vec<u8> = world.weights.iter().map(|byte| byte ^ 0x55).collect();
    let text = error.to_string();
    assert!(text.contains(WEIGHTS), "{text}");
    assert!(
        text.contains(&blob_of(&world)) && text.contains(&sha256(&wrong)),
        "{text}"
    );
    assert_nothing_final(&world);
    assert!(!partial_of(&world).exists());
}

#[test]
fn git_files_are_checked_too() {
    let world = World::new();
    let twice = [Fault::WrongBytes, Fault::WrongBytes];
    world.server.fault("GET", "config.json", twice);
    let error = world.hub().file(REPO, None, "config.json").unwrap_err();
    assert!(
        matches!(
            error,
            HubError::Corrupt {
                check: "git sha1",
                ..
            }
        ),
        "{error}"
    );
    assert_nothing_final(&world);
}

#[test]
fn a_page_in_place_of_the_file_never_becomes_a_blob() {
    let html: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\
        Connection: close\r\n\r\n<html>log in</html>\n";
    for fault in [
        Fault::Raw(html),
        Fault::Resized(10),
        Fault::Resized(300_001),
    ] {
        let world = World::new();
        world.server.fault("GET", &blob_of(&world), vec![fault; 2]);
        let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
        assert!(
            matches!(error, HubError::Corrupt { check: "size", .. }),
            "{error}"
        );
        assert_nothing_final(&world);
    }
}

#[test]
fn a_body_without_end_is_left_at_the_expected_size() {
    let world = World::new();
    world
        .server
        .fault("GET", &blob_of(&world), vec![Fault::Endless; 2]);
    let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
    assert!(
        matches!(error, HubError::Corrupt { check: "size", .. }),
        "{error}"
    );
    assert_nothing_final(&world);

    // Without an announced size, HubOptions::max_bytes is the end.
    let world = World::new();
    world.server.without_cdn();
    let unsaid = Fault::Without(&["X-Linked-Size", "Content-Length"]);
    world.server.fault("HEAD", WEIGHTS, [unsaid]);
    world.server.fault("GET", WEIGHTS, [Fault::Endless]);
    let hub = world.hub_with(|options| options.max_bytes = 400_000);
    let error = hub.file(REPO, None, WEIGHTS).unwrap_err();
    assert!(
        matches!(error, HubError::TooLarge { limit: 400_000, .. }),
        "{error}"
    );
    assert_nothing_final(&world);
}

#[test]
fn a_size_that_is_not_announced_is_no_obstacle() {
    let world = World::new();
    world.server.without_cdn();
    let unsaid = Fault::Without(&["X-Linked-Size", "Content-Length"]);
    world.server.fault("HEAD", WEIGHTS, [unsaid]);
    world.server.fault("GET", WEIGHTS, [Fault::Cut(5_000)]);
    let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
}

#[test]
fn a_truncated_blob_in_the_cache_is_replaced() {
    let world = World::new();
    let hub = world.hub();
    let path = hub.file(REPO, None, WEIGHTS).unwrap();
    fs::write(&path, &world.weights[..1000]).unwrap();
    let again = hub.locate(REPO, None, WEIGHTS).unwrap();
    assert!(again.downloaded);
    assert_eq!(fs::read(again.path).unwrap(), world.weights);
    assert!(
        world.warnings().contains("1000 bytes"),
        "{}",
        world.warnings()
    );
}

#[test]
fn a_signed_address_that_ran_out_is_renewed() {
    let world = World::new();
    let faults = [Fault::Cut(80_000), Fault::Status(403, "")];
    world.server.fault("GET", &blob_of(&world), faults);
    let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
    let heads = world.server.seen();
    let heads = heads.iter().filter(|seen| seen.method == "HEAD").count();
    assert_eq!(heads, 3, "the first, and one before each further attempt");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named() {
    let world = World::new();
    let partial = partial_of(&world);
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
    assert!(matches!(error, HubError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("HF_HUB_CACHE"), "{error}");
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let world = World::new();
    let file = world.cache.path().join("file");
    fs::write(&file, b"").unwrap();
    let hub = world.hub_with(|options| options.cache_dir = file.join("cache"));
    let error = hub.file(REPO, None, WEIGHTS).unwrap_err();
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn answers_without_sense_are_errors() {
    let cases: [(Fault, &str); 8] = [
        (Fault::Without(&["X-Repo-Commit"]), "X-Repo-Commit"),
        (Fault::Without(&["X-Linked-ETag"]), "ETag"),
        (Fault::With("X-Linked-ETag", "\"../../x\""), "ETag"),
        (Fault::With("X-Repo-Commit", "../.."), "X-Repo-Commit"),
        (Fault::With("X-Linked-Size", "many"), "many"),
        (Fault::Without(&["Location"]), "Location"),
        (Fault::With("Location", "ftp://elsewhere/x"), "http"),
        (
            Fault::With("Location", "/timm/resnest/resolve/main/model.safetensors"),
            "redirects",
        ),
    ];
    for (fault, expected) in cases {
        let world = World::new();
        world.server.fault("HEAD", WEIGHTS, vec![fault.clone(); 12]);
        let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
        assert!(
            matches!(error, HubError::Protocol { .. }),
            "{fault:?}: {error}"
        );
        assert!(error.to_string().contains(expected), "{fault:?}: {error}");
        assert!(world.tree().is_empty(), "{:?}", world.tree());
    }
}

#[test]
fn bytes_that_are_no_http_are_errors() {
    for raw in [
        b"" as &[u8],
        b"\0\xff\xfe garbage",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 999999 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nETag: \xff\xff\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \r\n\r\n",
    ] {
        for method in ["HEAD", "GET"] {
            let world = World::new();
            world
                .server
                .fault(method, "config.json", vec![Fault::Raw(raw); 9]);
            let hub = world.hub_with(|options| options.retries = 1);
            hub.file(REPO, None, "config.json").unwrap_err();
            assert_nothing_final(&world);
        }
    }
}
