//! When nothing goes wrong: layout, revisions, references, the cache in the network's place.

use std::fs;

use resnest_loader::hub::HubError;

use crate::common::{REPO, WEIGHTS, World};
use crate::server::{COMMIT, Fault, git_hash, sha256};

const SECOND: &str = "2222222222222222222222222222222222222222";

#[test]
fn files_lie_where_python_keeps_them() {
    let world = World::new();
    let hub = world.hub();
    let config = hub.file(REPO, None, "config.json").unwrap();
    let labels = hub.file(REPO, None, "sub dir/labels.txt").unwrap();
    let weights = hub.file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(&config).unwrap(), b"{\"a\": 1}\n");
    assert_eq!(fs::read(&labels).unwrap(), b"cat\ndog\n");
    assert_eq!(fs::read(&weights).unwrap(), world.weights);

    let (config_blob, labels_blob) = (git_hash(b"{\"a\": 1}\n"), git_hash(b"cat\ndog\n"));
    let weights_blob = sha256(&world.weights);
    let mut expected = vec![
        format!("blobs/{config_blob}"),
        format!("blobs/{labels_blob}"),
        format!("blobs/{weights_blob}"),
        "refs/main".to_owned(),
        format!("snapshots/{COMMIT}/config.json"),
        format!("snapshots/{COMMIT}/model.safetensors"),
        format!("snapshots/{COMMIT}/sub dir/labels.txt"),
    ];
    expected.sort();
    assert_eq!(world.tree(), expected);
    let root = world.cache.path().join("models--timm--resnest");
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    let link = |path| fs::read_link(path).unwrap().to_str().unwrap().to_owned();
    assert_eq!(link(&config), format!("../../blobs/{config_blob}"));
    assert_eq!(link(&labels), format!("../../../blobs/{labels_blob}"));
    let lock = format!(".locks/models--timm--resnest/{weights_blob}.lock");
    assert!(world.cache.path().join(lock).is_file());
    assert!(world.warnings().is_empty(), "{}", world.warnings());
}

#[test]
fn a_second_call_fetches_nothing() {
    let world = World::new();
    let hub = world.hub();
    let first = hub.locate(REPO, None, WEIGHTS).unwrap();
    let second = hub.locate(REPO, None, WEIGHTS).unwrap();
    assert!(first.downloaded && !second.downloaded);
    assert_eq!(first.path, second.path);
    assert_eq!(second.commit, COMMIT);
    assert_eq!(world.server.gets().len(), 1);
}

#[test]
fn missing_things_have_names_of_their_own() {
    for nameless in [false, true] {
        let world = World::new();
        if nameless {
            world.server.leave_out_error_codes();
        }
        let hub = world.hub();
        assert_eq!(hub.try_file(REPO, None, "absent.bin").unwrap(), None);
        let error = hub.file(REPO, None, "absent.bin").unwrap_err();
        assert!(matches!(error, HubError::EntryNotFound { .. }), "{error}");
        let error = hub.try_file(REPO, Some("v9"), WEIGHTS).unwrap_err();
        assert!(
            matches!(error, HubError::RevisionNotFound { .. }),
            "{error}"
        );
        let error = hub.try_file("no/body", None, WEIGHTS).unwrap_err();
        assert!(
            matches!(error, HubError::RepositoryNotFound { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("HF_TOKEN"), "{error}");
    }
}

#[test]
fn a_pinned_commit_in_the_cache_needs_no_network() {
    let world = World::new();
    let hub = world.hub();
    hub.file(REPO, Some(COMMIT), WEIGHTS).unwrap();
    let before = world.server.seen().len();
    let again = hub.locate(REPO, Some(COMMIT), WEIGHTS).unwrap();
    assert_eq!(world.server.seen().len(), before);
    assert_eq!(again.warning, None);
    // A commit is no reference.
    assert!(!world.tree().iter().any(|path| path.starts_with("refs/")));
}

#[test]
fn a_moved_branch_brings_the_new_commit_and_reuses_blobs() {
    let world = World::new();
    let hub = world.hub();
    let old = hub.locate(REPO, None, "config.json").unwrap();
    hub.file(REPO, None, WEIGHTS).unwrap();
    world
        .server
        .put(REPO, SECOND, "config.json", b"{}\n", false);
    world
        .server
        .put(REPO, SECOND, WEIGHTS, &world.weights, true);
    let new = hub.locate(REPO, None, "config.json").unwrap();
    assert_eq!(new.commit, SECOND);
    assert_eq!(fs::read(&new.path).unwrap(), b"{}\n");
    assert_eq!(fs::read(&old.path).unwrap(), b"{\"a\": 1}\n");
    let weights = hub.locate(REPO, None, WEIGHTS).unwrap();
    assert!(weights.path.to_str().unwrap().contains(SECOND));
    assert!(!weights.downloaded, "same blob, new link");
    let old_again = hub.locate(REPO, Some(COMMIT), "config.json").unwrap();
    assert_eq!(old_again.path, old.path);
}

#[test]
fn revisions_with_slashes_are_escaped_and_kept() {
    let world = World::new();
    world.server.set_ref(REPO, "refs/pr/1", COMMIT);
    let hub = world.hub();
    hub.file(REPO, Some("refs/pr/1"), "config.json").unwrap();
    let path = &world.server.seen()[0].path;
    assert_eq!(path, "/timm/resnest/resolve/refs%2Fpr%2F1/config.json");
    assert!(world.tree().contains(&"refs/refs/pr/1".to_owned()));
    assert!(hub.cached(REPO, Some("refs/pr/1"), "config.json").is_some());
}

#[test]
fn renamed_repositories_and_mirrors_are_followed() {
    let world = World::new();
    world.server.rename("old/name", REPO);
    let hub = world.hub();
    for file in ["sub dir/labels.txt", WEIGHTS] {
        let path = hub.file("old/name", None, file).unwrap();
        assert!(path.to_str().unwrap().contains("models--old--name"));
    }

    // A mirror that only redirects to the hub, which is another host to it.
    let mirror = World::new();
    for file in ["config.json", WEIGHTS] {
        let place = format!("{}/{REPO}/resolve/main/{file}", world.server.endpoint());
        let header = format!("Location: {place}").leak();
        mirror
            .server
            .fault("HEAD", file, [Fault::Status(308, header)]);
    }
    let hub = mirror.hub_with(|options| options.token = Some("hf_mirror".to_owned()));
    let before = world.server.seen().len();
    for file in ["config.json", WEIGHTS] {
        hub.file(REPO, None, file).unwrap();
    }
    let seen = world.server.seen();
    assert!(seen.len() > before);
    assert!(seen.iter().all(|request| request.authorization.is_none()));
}

#[test]
fn offline_serves_what_there_is() {
    let world = World::new();
    let online = world.hub();
    let path = online.file(REPO, None, "config.json").unwrap();
    assert_eq!(online.try_file(REPO, None, "absent.bin").unwrap(), None);
    let before = world.server.seen().len();

    let offline = world.hub_with(|options| options.offline = true);
    assert_eq!(offline.file(REPO, None, "config.json").unwrap(), path);
    assert_eq!(
        offline.file(REPO, Some(COMMIT), "config.json").unwrap(),
        path
    );
    // Known not to exist since the online call; nothing is known about the weights.
    assert_eq!(offline.try_file(REPO, None, "absent.bin").unwrap(), None);
    let error = offline.try_file(REPO, None, WEIGHTS).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    assert_eq!(world.server.seen().len(), before, "no request was made");
}

#[test]
fn without_symlinks_the_snapshot_holds_the_bytes() {
    let world = World::new();
    let hub = world.hub_with(|options| options.symlinks = false);
    let path = hub.file(REPO, None, WEIGHTS).unwrap();
    assert!(!path.is_symlink());
    assert_eq!(fs::read(&path).unwrap(), world.weights);
    assert!(!hub.locate(REPO, None, WEIGHTS).unwrap().downloaded);
}

#[test]
fn names_are_checked_before_anything_is_asked() {
    let world = World::new();
    let hub = world.hub();
    for (repo, revision, file) in [
        ("../up", None, "f"),
        (REPO, Some("../up"), "f"),
        (REPO, None, "../../up"),
        (REPO, None, "/etc/passwd"),
    ] {
        let error = hub.file(repo, revision, file).unwrap_err();
        assert!(matches!(error, HubError::BadName { .. }), "{error}");
        assert_eq!(hub.cached(repo, revision, file), None);
    }
    assert!(world.server.seen().is_empty());
}
