//! More than can be computed, and clients that leave before it is.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, get, post};
use crate::images::HORSE;
use crate::server::{LONG, Server};
use crate::{alone, pictures};

const TAKEN: &str = "resnest_in_flight_images";

#[test]
fn who_leaves_makes_room_and_disturbs_nobody() {
    let _alone = alone();
    let server = Server::start(&["--queue", "8", "--max-batch", "1", "--threads", "1"]);
    let heavy = post("/classify", &[], &pictures::png(6900, 6900, [200, 100, 50]));
    let light = post("/classify", &[], HORSE);
    for round in 0..3 {
        let mut stay: Vec<Client> = (0..3).map(|_| server.connect()).collect();
        let mut leave: Vec<Client> = (0..5).map(|_| server.connect()).collect();
        // So that those who stay stand between and behind those who leave.
        let (mut stays, mut leaves) = (stay.iter_mut(), leave.iter_mut());
        for stays_here in [false, false, true, false, true, false, false, true] {
            let next = if stays_here {
                stays.next()
            } else {
                leaves.next()
            };
            next.unwrap().send(&heavy).unwrap();
        }
        server.until(TAKEN, |taken| taken >= 8.0);
        let refused = server.ask(&light);
        assert_eq!(refused.status, 429, "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
        refused.error();
        leave.clear();
        // What is being decoded or computed for them is not taken back; what waits is.
        server.until(TAKEN, |taken| taken <= 4.0);
        for client in &mut stay {
            let answer = client.receive().unwrap().expect("an answer");
            assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        }
        server.until(TAKEN, |taken| taken == 0.0);
        // All eight places are there again.
        std::thread::scope(|scope| {
            let asks: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| server.ask(&light).status))
                .collect();
            asks.into_iter()
                .for_each(|ask| assert_eq!(ask.join().unwrap(), 200));
        });
    }
    server.has_a_clean_log();
}

/// Thousands that hang up at any moment: before the head is done, within the body, in the queue, in compute.
#[test]
fn those_who_hang_up_at_any_moment_leave_nothing_behind() {
    let _alone = alone();
    let server = Server::start(&["--queue", "16", "--log", "warn"]);
    server.is_well();
    let request = post("/classify?cam=true", &[], HORSE);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let steady = scope.spawn(|| {
            let mut client = server.connect();
            let request = post("/classify", &[], HORSE);
            let mut well = 0;
            while !stop.load(Ordering::SeqCst) {
                let answer = client.ask(&request);
                assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
                well += usize::from(answer.status == 200);
            }
            well
        });
        let leavers: Vec<_> = (0..4usize)
            .map(|thread| {
                let (server, request) = (&server, &request);
                scope.spawn(move || {
                    for at in 0..400 {
                        let mut client = server.connect();
                        let all = at % 4 != 0;
                        let end = if all {
                            request.len()
                        } else {
                            at * 37 % request.len()
                        };
                        client.send(&request[..end]).unwrap();
                        std::thread::sleep(Duration::from_micros(
                            ((at * 7 + thread) % 40) as u64 * 100,
                        ));
                    }
                })
            })
            .collect();
        leavers
            .into_iter()
            .for_each(|leaver| leaver.join().unwrap());
        stop.store(true, Ordering::SeqCst);
        println!(
            "beside 1,600 that hung up, {} were answered",
            steady.join().unwrap()
        );
    });
    server.until(TAKEN, |taken| taken == 0.0);
    server.until("resnest_connections", |open| open <= 2.0);
    server.is_well();
    server.has_a_clean_log();
}

/// Requests a second when this many clients ask all the time.
fn capacity(server: &Server, request: &[u8], time: Duration) -> f64 {
    let answered = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..28 {
            scope.spawn(|| {
                let mut client = server.connect();
                while start.elapsed() < time {
                    if client.ask(request).status == 200 {
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    answered.into_inner() as f64 / start.elapsed().as_secs_f64()
}

/// Twice as many requests as can be answered, at their own pace, whatever becomes of those before.
fn overload(time: Duration) {
    let server = Server::start(&["--queue", "32", "--log", "warn"]);
    let request = post("/classify", &[], &pictures::png(1200, 1200, [90, 160, 30]));
    let rate = capacity(&server, &request, Duration::from_secs(3));
    let all = (2.0 * rate * time.as_secs_f64()) as usize;
    let (next, well, busy) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let waits = Mutex::new(Vec::new());
    let mut memory = Vec::new();
    let start = Instant::now();
    let due = |at: usize| Duration::from_secs_f64(at as f64 / (2.0 * rate));
    std::thread::scope(|scope| {
        for _ in 0..128 {
            scope.spawn(|| {
                let mut client = server.connect();
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    if at >= all {
                        break;
                    }
                    std::thread::sleep(due(at).saturating_sub(start.elapsed()));
                    let asked = Instant::now();
                    let answer = client.ask(&request);
                    match answer.status {
                        200 => {
                            well.fetch_add(1, Ordering::SeqCst);
                            waits.lock().unwrap().push(asked.elapsed());
                        }
                        429 => {
                            let after = answer.header("retry-after").unwrap();
                            assert!((1..=60).contains(&after.parse::<u64>().unwrap()), "{after}");
                            answer.error();
                            busy.fetch_add(1, Ordering::SeqCst);
                        }
                        status => panic!("{status}: {}", answer.text()),
                    }
                }
            });
        }
        while next.load(Ordering::SeqCst) < all {
            std::thread::sleep(time / 20);
            memory.push(server.memory("VmRSS") >> 20);
            assert_eq!(server.ask(&get("/v2/health/ready")).status, 200);
        }
    });
    let took = start.elapsed().as_secs_f64();
    let mut waits = waits.into_inner().unwrap();
    waits.sort();
    let (well, busy) = (well.into_inner(), busy.into_inner());
    println!(
        "{rate:.0} a second alone; offered {:.0} a second for {took:.0} s: {:.0} a second answered (p50 {:.0?}, p99 {:.0?}), \
         {busy} of {all} turned away; memory {memory:?} MiB",
        all as f64 / took,
        well as f64 / took,
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
    );
    assert_eq!(well + busy, all);
    assert!(busy > 0, "that was no overload");
    let (early, late) = (memory[memory.len() / 4], *memory.last().unwrap());
    assert!(
        late <= early + early / 4 + 16,
        "memory grows: {memory:?} MiB"
    );
    server.until(TAKEN, |taken| taken == 0.0);
    server.is_well();
    server.has_a_clean_log();
}

#[test]
fn twice_too_much_is_answered_or_turned_away() {
    let _alone = alone();
    overload(Duration::from_secs(10));
}

#[test]
#[ignore = "by hand: a minute of full load"]
fn by_hand_twice_too_much_for_a_minute() {
    let _alone = alone();
    overload(Duration::from_secs(60));
}

/// What nobody answers in time is said to be late, and gives its place back.
#[test]
fn a_request_has_its_time() {
    let _alone = alone();
    let server = Server::start(&["--request-timeout", "0.005", "--threads", "1"]);
    let answer = server.ask(&post(
        "/classify",
        &[],
        &pictures::png(5000, 5000, [1, 1, 1]),
    ));
    assert_eq!(answer.status, 504, "{}", answer.text());
    answer.error();
    server.until(TAKEN, |taken| taken == 0.0);
    let start = Instant::now();
    while server.ask(&post("/classify", &[], HORSE)).status != 200 {
        assert!(start.elapsed() < LONG);
    }
    server.has_a_clean_log();
}
