//! Models loaded, loaded again and unloaded while they are being asked.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, get, post};
use crate::images::HORSE;
use crate::server::Server;
use crate::{alone, together};

const LOAD: &str = "/v2/repository/models/demo/load";
const UNLOAD: &str = "/v2/repository/models/demo/unload";

/// Asks until it is stopped; how often it was answered and how often told that there is no model now.
fn asks(server: &Server, stop: &AtomicBool, may_be_away: bool) -> (usize, usize) {
    let mut client = server.connect();
    let request = post("/classify", &[], HORSE);
    let (mut well, mut away) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let answer = client.ask(&request);
        match answer.status {
            200 => {
                assert_eq!(answer.json()[0]["label"], "horse");
                well += 1;
            }
            503 if may_be_away => {
                assert!(answer.error().contains("unloaded"), "{}", answer.text());
                away += 1;
            }
            status => panic!("{status}: {}", answer.text()),
        }
    }
    (well, away)
}

#[test]
fn a_model_is_loaded_again_without_a_lost_request() {
    let _alone = alone();
    let server = Server::start(&["--model-control", "explicit"]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| asks(&server, &stop, false)))
            .collect();
        let start = Instant::now();
        let mut loads = 0;
        while loads < 10 || start.elapsed() < Duration::from_secs(4) {
            let answer = server.ask(&post(LOAD, &[], b""));
            assert_eq!(answer.status, 200, "{}", answer.text());
            loads += 1;
        }
        stop.store(true, Ordering::SeqCst);
        let well: usize = clients.into_iter().map(|c| c.join().unwrap().0).sum();
        println!("{loads} loads, {well} requests, none lost");
        assert!(well > loads);
    });
    server.has_a_clean_log();
}

#[test]
fn loading_and_unloading_at_once_ends_in_one_of_the_two() {
    let _alone = alone();
    let server = Server::start(&["--model-control", "explicit"]);
    let stop = AtomicBool::new(false);
    let (well, away) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| asks(&server, &stop, true)))
            .collect();
        let changers: Vec<_> = [LOAD, UNLOAD, LOAD, UNLOAD]
            .map(|path| {
                let server = &server;
                scope.spawn(move || {
                    for at in 0..25 {
                        let answer = server.ask(&post(path, &[], b"{}"));
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        std::thread::sleep(Duration::from_millis(at % 5));
                    }
                })
            })
            .into_iter()
            .collect();
        changers
            .into_iter()
            .for_each(|changer| changer.join().unwrap());
        stop.store(true, Ordering::SeqCst);
        let counts = clients.into_iter().map(|c| c.join().unwrap());
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    println!("100 loads and unloads: {well} answered, {away} told that there is no model now");
    assert_eq!(server.ask(&post(UNLOAD, &[], b"")).status, 200);
    assert_eq!(server.ask(&get("/v2/models/demo/ready")).status, 503);
    assert_eq!(server.ask(&post("/classify", &[], HORSE)).status, 503);
    assert_eq!(server.ask(&get("/v2/health/ready")).status, 503);
    assert_eq!(server.ask(&post(LOAD, &[], b"")).status, 200);
    server.is_well();
    server.has_a_clean_log();
}

/// Whoever asks for a load and hangs up does not get the next one started beside it, nor leaves memory behind.
#[test]
fn loads_that_nobody_waits_for_are_done_one_at_a_time() {
    let _alone = alone();
    let server = Server::start(&["--model-control", "explicit"]);
    for _ in 0..5 {
        assert_eq!(server.ask(&post(LOAD, &[], b"")).status, 200);
    }
    let before = server.memory("VmHWM");
    let sent = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let mut client = Client::connect(&server.address);
                    client.send(&post(LOAD, &[], b"")).unwrap();
                    std::thread::sleep(Duration::from_millis(2));
                    drop(client);
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(server.ask(&post(LOAD, &[], b"")).status, 200);
    let grown = server.memory("VmHWM").saturating_sub(before);
    println!("100 loads hung up on: {} MiB more at most", grown >> 20);
    assert!(grown < 100 << 20, "{grown}");
    server.is_well();
    server.has_a_clean_log();
}

#[test]
fn clients_load_nothing_unless_they_may() {
    let _together = together();
    let server = Server::start(&[]);
    for path in [LOAD, UNLOAD] {
        let answer = server.ask(&post(path, &[], b""));
        assert_eq!(answer.status, 403);
        answer.error();
    }
    server.is_well();
}
