//! How long is waited for what, and that it is said.

use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

use resnest_loader::hub::{Hub, HubError};

use crate::common::{REPO, WEIGHTS, World};
use crate::server::Fault;

/// The patience of a user's command, which the other tests shorten.
fn patient(world: &World, endpoint: &str) -> Hub {
    world.hub_with(|options| {
        options.endpoint = endpoint.to_owned();
        options.retries = 5;
        options.backoff = Duration::from_secs(1);
        options.max_backoff = Duration::from_secs(60);
    })
}

#[test]
fn a_name_that_does_not_resolve_is_told_at_once_and_not_waited_for_long() {
    let world = World::new();
    let hub = patient(&world, "http://no-such-hub.invalid");
    let start = Instant::now();
    let error = hub.file(REPO, None, WEIGHTS).unwrap_err();
    let took = start.elapsed();
    assert!(
        matches!(error, HubError::Unreachable { attempts: 2, .. }),
        "{error}"
    );
    let says = "the name no-such-hub.invalid does not resolve";
    assert!(error.to_string().contains(says), "{error}");
    assert!(world.warnings().contains(says), "{}", world.warnings());
    assert!(
        world.warnings().contains("trying again in 1."),
        "{}",
        world.warnings()
    );
    assert!(took < Duration::from_secs(14), "{took:?}");
}

#[test]
fn an_address_where_nobody_listens_is_tried_twice() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let start = Instant::now();
    let error = patient(&world, &endpoint)
        .file(REPO, None, WEIGHTS)
        .unwrap_err();
    assert!(
        matches!(error, HubError::Unreachable { attempts: 2, .. }),
        "{error}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    let warnings = world.warnings();
    assert!(
        warnings.contains(&endpoint) && warnings.contains("trying again"),
        "{warnings}"
    );
}

#[test]
fn a_wait_of_years_is_refused_by_name() {
    let far = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(99_999_999));
    let date = &*format!("Retry-After: {far}").leak();
    for header in [
        "Retry-After: 99999999",
        "RateLimit: \"api\";r=0;t=99999999",
        date,
    ] {
        for method in ["HEAD", "GET"] {
            let world = World::new();
            world.server.without_cdn();
            world
                .server
                .fault(method, WEIGHTS, [Fault::Status(429, header)]);
            let start = Instant::now();
            let error = patient(&world, &world.server.endpoint())
                .file(REPO, None, WEIGHTS)
                .unwrap_err();
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "{:?}",
                start.elapsed()
            );
            let HubError::Overloaded {
                status: 429, asked, ..
            } = &error
            else {
                panic!("{header}: {error}");
            };
            assert!(asked.as_secs() > 99_999_900, "{asked:?}");
            let text = error.to_string();
            assert!(text.contains("999999") && text.contains("429"), "{text}");
        }
    }
}

#[test]
fn a_wait_until_a_date_is_kept() {
    let world = World::new();
    let until = SystemTime::now() + Duration::from_secs(3);
    let header = format!("Retry-After: {}", httpdate::fmt_http_date(until));
    world
        .server
        .fault("HEAD", WEIGHTS, [Fault::Status(503, header.leak())]);
    let start = Instant::now();
    // without the date, the back-off would be 5 ms
    let hub = world.hub_with(|options| options.max_backoff = Duration::from_secs(60));
    hub.file(REPO, None, WEIGHTS).unwrap();
    let took = start.elapsed();
    assert!(took > Duration::from_millis(1500), "{took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(
        world.warnings().contains("status 503"),
        "{}",
        world.warnings()
    );
}
