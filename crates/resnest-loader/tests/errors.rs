//! What an error says to one who answers requests, each answer from a real failure.

use std::fs;
use std::path::Path;

use candle_core::{DType, Device};
use resnest_loader::hub::{HubError, HubOptions};
use resnest_loader::{Error, Loader, LoaderOptions, ModelSource, Overrides};
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Offline, with an empty cache.
fn loader() -> (TempDir, Loader) {
    let cache = tempfile::tempdir().unwrap();
    let mut hub = HubOptions::default();
    hub.cache_dir = cache.path().to_owned();
    hub.offline = true;
    let loader = Loader::new(LoaderOptions::new(hub)).unwrap();
    (cache, loader)
}

/// Of a name that cannot be loaded: why.
fn refusal(loader: &Loader, name: &str) -> Error {
    let load = || {
        let source = name.parse::<ModelSource>()?;
        let resolved = loader.resolve(&source, &Overrides::default())?;
        loader.load(&resolved, &Device::Cpu, DType::F32)
    };
    match load() {
        Err(error) => error,
        Ok(_) => panic!("{name} was loaded"),
    }
}

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoints/fixtures");
    format!("{}/{name}", folder.display())
}

#[derive(Debug, PartialEq, Clone, Copy)]
enum Kind {
    Unreachable,
    UnknownModel,
    NotFound,
    BadCheckpoint,
    Other,
}

/// Which of the four it is; never two.
fn kind(error: &Error) -> Kind {
    let kinds = [
        (error.is_unreachable(), Kind::Unreachable),
        (error.is_unknown_model(), Kind::UnknownModel),
        (error.is_not_found(), Kind::NotFound),
        (error.is_bad_checkpoint(), Kind::BadCheckpoint),
    ];
    match kinds.iter().filter(|(is, _)| *is).collect::<Vec<_>>()[..] {
        [] => Kind::Other,
        [(_, kind)] => *kind,
        _ => panic!("more than one: {error}"),
    }
}

#[test]
fn names_that_nothing_has() {
    let (_cache, loader) = loader();
    for (name, part) in [
        ("resnst50d", "did you mean resnest50d"),
        ("timm/resnest50d", "hf-hub:timm/resnest50d"),
        ("hf-hub:a--b/c", "invalid repository"),
        ("hf-hub:a", "user/name was expected"),
    ] {
        let error = refusal(&loader, name);
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(kind(&error), Kind::UnknownModel, "{error}");
    }
}

#[test]
fn names_that_the_caller_has_besides_are_suggested() {
    let (cache, _) = loader();
    let mut hub = HubOptions::default();
    hub.cache_dir = cache.path().to_owned();
    let mut options = LoaderOptions::new(hub);
    options.also_known = vec!["demo".to_owned()];
    let loader = Loader::new(options).unwrap();
    let error = refusal(&loader, "dmo");
    assert_eq!(error.to_string(), "unknown model 'dmo'; did you mean demo?");
    assert_eq!(kind(&error), Kind::UnknownModel);
    let error = refusal(&loader, "demo").to_string();
    assert!(error.contains("nothing to look up or download"), "{error}");
}

#[test]
fn an_empty_cache_that_may_not_be_filled() {
    let (_cache, loader) = loader();
    for name in ["resnest50d.in1k", "hf-hub:timm/resnest50d.in1k"] {
        let error = refusal(&loader, name);
        assert!(matches!(&error, Error::Hub(e) if matches!(**e, HubError::Offline { .. })));
        assert_eq!(kind(&error), Kind::Unreachable, "{error}");
    }
}

#[test]
fn files_and_folders_that_are_not_there() {
    let (cache, loader) = loader();
    let empty = tempfile::tempdir().unwrap();
    let absent = empty.path().join("absent");
    for folder in [empty.path(), &absent] {
        let error = refusal(&loader, &format!("local-dir:{}", folder.display()));
        assert_eq!(kind(&error), Kind::NotFound, "{error}");
    }
    let file = ModelSource::File {
        path: absent,
        architecture: Some("resnest50d".to_owned()),
    };
    let resolved = loader.resolve(&file, &Overrides::default()).unwrap();
    let error = loader.open(&resolved).unwrap_err();
    assert_eq!(kind(&error), Kind::NotFound, "{error}");

    // a repository that is known to have no such file
    let repo = cache.path().join("models--a--b");
    let marker = repo.join(".no_exist").join(COMMIT);
    fs::create_dir_all(&marker).unwrap();
    fs::write(marker.join("config.json"), "").unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    let error = refusal(&loader, "hf-hub:a/b");
    assert_eq!(kind(&error), Kind::NotFound, "{error}");
}

#[test]
fn checkpoints_that_cannot_be_used() {
    let (cache, loader) = loader();
    let of = |file: &str, architecture: &str| {
        let source = ModelSource::File {
            path: file.into(),
            architecture: Some(architecture.to_owned()),
        };
        let resolved = loader.resolve(&source, &Overrides::default()).unwrap();
        let loaded = loader.load(&resolved, &Device::Cpu, DType::F32);
        loaded.map(drop).unwrap_err()
    };
    for name in [
        "evil_zip.pth",
        "evil_plain.pth",
        "ref/config.json",
        "ref/model.safetensors",
    ] {
        let error = of(&fixture(name), "resnest14d");
        assert_eq!(kind(&error), Kind::BadCheckpoint, "{error}");
    }
    let whole = fs::read(fixture("ref/model.safetensors")).unwrap();

    // the same in the hub's cache
    let repo = cache.path().join("models--a--b");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    fs::copy(fixture("ref/config.json"), snapshot.join("config.json")).unwrap();
    fs::write(snapshot.join("model.safetensors"), &whole[..1000]).unwrap();
    let error = refusal(&loader, "hf-hub:a/b");
    assert!(matches!(error, Error::Cached { .. }), "{error}");
    assert_eq!(kind(&error), Kind::BadCheckpoint, "{error}");
}

#[test]
fn settings_and_options_are_none_of_them() {
    let mut hub = HubOptions::default();
    hub.cache_dir = Path::new("").into();
    let Err(error) = Loader::new(LoaderOptions::new(hub)) else {
        panic!("no cache, and no error");
    };
    assert_eq!(kind(&error), Kind::Other, "{error}");
    let (_cache, loader) = loader();
    let mut wrong = Overrides::default();
    wrong.output_stride = Some(7);
    let source = "resnest50d".parse().unwrap();
    let error = loader.resolve(&source, &wrong).unwrap_err();
    assert_eq!(kind(&error), Kind::Other, "{error}");
}

/// What the cache has is served; what it has not says which feature would fetch it.
#[cfg(not(feature = "hub"))]
#[test]
fn without_the_feature_the_cache_answers() {
    let cache = tempfile::tempdir().unwrap();
    let mut hub = HubOptions::default();
    hub.cache_dir = cache.path().to_owned();
    let loader = Loader::new(LoaderOptions::new(hub)).unwrap();
    let error = refusal(&loader, "hf-hub:a/b");
    assert_eq!(kind(&error), Kind::Unreachable);
    assert!(
        error.to_string().contains("without the feature `hub`"),
        "{error}"
    );

    let repo = cache.path().join("models--a--b");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(fixture(&format!("ref/{file}")), snapshot.join(file)).unwrap();
    }
    let source = "hf-hub:a/b".parse().unwrap();
    let resolved = loader.resolve(&source, &Overrides::default()).unwrap();
    loader.load(&resolved, &Device::Cpu, DType::F32).unwrap();
}

#[cfg(feature = "hub")]
mod over_http {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn asking(endpoint: String) -> (TempDir, Loader) {
        let cache = tempfile::tempdir().unwrap();
        let mut hub = HubOptions::default();
        hub.cache_dir = cache.path().to_owned();
        hub.endpoint = endpoint;
        hub.retries = 0;
        let loader = Loader::new(LoaderOptions::new(hub)).unwrap();
        (cache, loader)
    }

    /// The address of a hub that gives every request this answer.
    fn hub(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(format!("HTTP/1.1 {answer}\r\n{end}").as_bytes());
            }
        });
        address
    }

    #[test]
    fn what_the_hub_answers() {
        let nobody = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        for (endpoint, wanted) in [
            (format!("http://{nobody}"), Kind::Unreachable),
            (hub("503 Busy"), Kind::Unreachable),
            (hub("200 OK"), Kind::Unreachable),
            (
                hub("404 Not Found\r\nX-Error-Code: RepoNotFound"),
                Kind::UnknownModel,
            ),
            (
                hub("404 Not Found\r\nX-Error-Code: RevisionNotFound"),
                Kind::UnknownModel,
            ),
            (
                hub("404 Not Found\r\nX-Error-Code: EntryNotFound"),
                Kind::NotFound,
            ),
            (hub("403 Forbidden\r\nX-Error-Code: GatedRepo"), Kind::Other),
        ] {
            let (_cache, loader) = asking(endpoint);
            let error = refusal(&loader, "hf-hub:a/b");
            assert_eq!(kind(&error), wanted, "{error}");
        }
    }
}
