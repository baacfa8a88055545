//! Answers that are not the file: refusals, overload, silence, and where the token goes.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use resnest_loader::hub::{Hub, HubError, Progress, Proxies};

use crate::common::{REPO, WEIGHTS, World, options};
use crate::server::Fault;

#[test]
fn gated_repositories_say_what_to_do_and_open_with_a_token() {
    let world = World::new();
    world.server.require_token("hf_right");
    let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
    assert!(matches!(error, HubError::Gated { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("HF_TOKEN") && text.contains("licence"),
        "{text}"
    );

    let hub = world.hub_with(|options| options.token = Some("hf_right".to_owned()));
    hub.file(REPO, None, WEIGHTS).unwrap();
}

#[test]
fn the_token_never_reaches_the_cdn() {
    let world = World::new();
    let hub = world.hub_with(|options| options.token = Some("hf_secret".to_owned()));
    hub.file(REPO, None, WEIGHTS).unwrap();
    hub.file(REPO, None, "config.json").unwrap();
    let seen = world.server.seen();
    assert!(seen.iter().any(|request| request.cdn));
    for request in seen {
        let expected = (!request.cdn).then_some("Bearer hf_secret");
        assert_eq!(
            request.authorization.as_deref(),
            expected,
            "{}",
            request.path
        );
    }
}

#[test]
fn plain_401_and_403_are_denials() {
    for status in [401, 403] {
        let world = World::new();
        let denial = Fault::Status(status, "X-Error-Code: None");
        world.server.fault("HEAD", WEIGHTS, [denial]);
        let error = world.hub().try_file(REPO, None, WEIGHTS).unwrap_err();
        assert!(matches!(error, HubError::Denied { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&status.to_string()) && text.contains("HF_TOKEN"),
            "{text}"
        );
        assert_eq!(world.server.seen().len(), 1, "asking again is no use");
    }
}

#[test]
fn overload_is_waited_out_as_long_as_the_server_asks() {
    let world = World::new();
    let busy = Fault::Status(429, "Retry-After: 1");
    world.server.fault("HEAD", WEIGHTS, [busy.clone()]);
    world.server.fault("GET", "", [busy]);
    let start = Instant::now();
    world.hub().file(REPO, None, WEIGHTS).unwrap();
    // Twice a second, capped by max_backoff (400 ms).
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(800), "{took:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn server_errors_pass_or_are_reported() {
    let world = World::new();
    let faults = [
        Fault::Status(500, ""),
        Fault::Status(503, ""),
        Fault::Raw(b""),
    ];
    world.server.fault("HEAD", WEIGHTS, faults.clone());
    world.server.fault("GET", "", faults);
    world.hub().file(REPO, None, WEIGHTS).unwrap();

    let world = World::new();
    let for_ever = vec![Fault::Status(500, ""); 99];
    world.server.fault("HEAD", WEIGHTS, for_ever);
    let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
    let HubError::Status {
        status, attempts, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((*status, *attempts), (500, 4));
    assert_eq!(world.server.seen().len(), 4);
    assert!(error.to_string().contains("500 after 4"), "{error}");
}

#[test]
fn signatures_stay_out_of_messages() {
    let world = World::new();
    world
        .server
        .fault("GET", "", vec![Fault::Status(403, ""); 99]);
    let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
    let all = format!("{error} {error:?} {}", world.warnings());
    assert!(all.contains("/cdn/"), "{all}");
    assert!(!all.contains("secret"), "{all}");
}

#[test]
fn a_silent_hub_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let cache = tempfile::tempdir().unwrap();
    let mut options = options(&endpoint, cache.path(), &Arc::default());
    options.retries = 1;
    options.metadata_timeout = Duration::from_millis(300);
    let start = Instant::now();
    let error = Hub::new(options)
        .unwrap()
        .file(REPO, None, WEIGHTS)
        .unwrap_err();
    assert!(
        matches!(error, HubError::Unreachable { attempts: 2, .. }),
        "{error}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

/// An address where nothing listens.
fn dead_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn the_cache_stands_in_when_the_hub_is_away() {
    let world = World::new();
    let path = world.hub().file(REPO, None, "config.json").unwrap();
    let away = world.hub_with(|options| options.endpoint = dead_endpoint());
    let located = away.locate(REPO, None, "config.json").unwrap();
    assert_eq!(located.path, path);
    let warning = located.warning.unwrap();
    assert!(warning.contains("out of date"), "{warning}");
    assert_eq!(world.warnings(), warning);
    // What the cache lacks, it cannot stand in for.
    let error = away.file(REPO, None, WEIGHTS).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");

    let world = World::new();
    let path = world.hub().file(REPO, None, "config.json").unwrap();
    world
        .server
        .fault("HEAD", "config.json", [Fault::Status(502, "")]);
    assert_eq!(world.hub().file(REPO, None, "config.json").unwrap(), path);
    assert!(world.warnings().contains("502"), "{}", world.warnings());
}

#[test]
fn a_pinned_commit_answered_with_another_is_refused() {
    let world = World::new();
    let pin = "3333333333333333333333333333333333333333";
    world.server.set_ref(REPO, pin, crate::server::COMMIT);
    let error = world.hub().file(REPO, Some(pin), WEIGHTS).unwrap_err();
    assert!(matches!(error, HubError::Protocol { .. }), "{error}");
    assert!(error.to_string().contains(pin), "{error}");
}

#[test]
fn proxies_are_used_unless_the_host_is_excepted() {
    let world = World::new();
    let proxy = dead_endpoint();
    let proxies = |no_proxy: &str| Proxies {
        http: Some(proxy.clone()),
        https: None,
        no_proxy: no_proxy.to_owned(),
    };
    let through = world.hub_with(|options| {
        options.proxies = proxies("");
        options.retries = 0;
    });
    let error = through.file(REPO, None, "config.json").unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(world.server.seen().is_empty());
    let around = world.hub_with(|options| options.proxies = proxies("127.0.0.1"));
    around.file(REPO, None, "config.json").unwrap();
}

#[test]
fn unusable_options_are_refused_by_name() {
    let world = World::new();
    for (endpoint, proxy, expected) in [
        ("huggingface.co", None, "HF_ENDPOINT"),
        ("ftp://huggingface.co", None, "HF_ENDPOINT"),
        ("http://h", Some("no://user:pass@proxy"), "HTTPS_PROXY"),
    ] {
        let mut options = world.options();
        options.endpoint = endpoint.to_owned();
        options.proxies.https = proxy.map(str::to_owned);
        let error = Hub::new(options).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("pass@"), "{error}");
    }
    let mut options = world.options();
    let bundle = world.cache.path().join("empty.pem");
    std::fs::write(&bundle, "no certificate").unwrap();
    options.ca_bundle = Some(bundle);
    let error = Hub::new(options).unwrap_err();
    assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
    let mut options = world.options();
    options.cache_dir = Default::default();
    assert!(matches!(
        Hub::new(options).unwrap_err(),
        HubError::NoCacheDir
    ));
}

/// Adds up what it is told.
#[derive(Default)]
struct Sum(Mutex<Told>);

#[derive(Default)]
struct Told {
    asked: Vec<String>,
    answers: usize,
    starts: Vec<(String, Option<u64>, u64)>,
    bytes: u64,
    finished: usize,
}

impl Progress for Sum {
    fn asking(&self, url: &str) {
        self.0.lock().unwrap().asked.push(url.to_owned());
    }
    fn answered(&self) {
        self.0.lock().unwrap().answers += 1;
    }
    fn start(&self, file: &str, total: Option<u64>, already: u64) {
        let start = (file.to_owned(), total, already);
        self.0.lock().unwrap().starts.push(start);
    }
    fn advance(&self, bytes: u64) {
        self.0.lock().unwrap().bytes += bytes;
    }
    fn finish(&self) {
        self.0.lock().unwrap().finished += 1;
    }
}

#[test]
fn progress_tells_rounds_and_bytes() {
    let world = World::new();
    world.server.fault("GET", "", [Fault::Cut(1000)]);
    let sum = Arc::new(Sum::default());
    let hub = world.hub_with(|options| options.progress = Some(sum.clone()));
    hub.file(REPO, None, WEIGHTS).unwrap();
    let told = sum.0.lock().unwrap();
    let round = |already| (WEIGHTS.to_owned(), Some(300_000), already);
    assert_eq!(told.starts, [round(0), round(1000)]);
    assert_eq!((told.bytes, told.finished), (300_000, 2));
    let address = format!("{}/{REPO}/resolve/main/{WEIGHTS}", world.server.endpoint());
    assert_eq!((&told.asked[..], told.answers), (&[address][..], 1));
}
