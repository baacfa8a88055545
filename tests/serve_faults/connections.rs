//! Connections: slow ones, silent ones, and very many.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::client::{Client, get, post};
use crate::images::HORSE;
use crate::server::Server;
use crate::{alone, together};

/// As `RequestLimits` has it: for a head, and how late it may be noticed.
const HEAD: Duration = Duration::from_secs(10 + 5);

/// Sends a piece, a second later the next one, until the server closes the connection; what it said by then.
fn dribble(mut client: Client, pieces: impl Iterator<Item = Vec<u8>>) -> (u16, Duration) {
    let start = Instant::now();
    for piece in pieces {
        if client.send(&piece).is_err() {
            break;
        }
        client.patience(Duration::from_secs(1));
        match client.receive() {
            Ok(Some(answer)) => {
                answer.error();
                return (answer.status, start.elapsed());
            }
            Ok(None) => return (0, start.elapsed()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return (0, start.elapsed()),
        }
    }
    panic!("the server has patience without end");
}

/// All at once, for they all wait.
#[test]
fn the_slow_are_told_so_and_the_quiet_are_left_alone() {
    let _together = together();
    let started = Server::start(&["--body-timeout", "3"]);
    let server = &started;
    let generous = Duration::from_secs(60);
    std::thread::scope(|scope| {
        // Heads: a byte a second, and one that stops in the middle.
        let head = get("/v2/health/ready").into_iter().cycle();
        let bytes = head.map(|byte| vec![byte]).take(120);
        scope.spawn(|| {
            let (status, after) = dribble(server.connect(), bytes);
            println!("a byte of a head a second: {status} after {after:.1?}");
            assert!(status == 408 && after < HEAD + generous);
        });
        scope.spawn(|| {
            let mut client = server.connect();
            client.send(b"GET /v2 HTTP/1.1\r\nhost: ").unwrap();
            let answer = client.receive().unwrap().expect("an answer");
            assert_eq!((answer.status, answer.closes()), (408, true));
            answer.error();
            assert!(client.receive().unwrap().is_none());
        });
        // The same on a connection that has had an answer, and half of how HTTP/2 begins.
        scope.spawn(|| {
            let mut client = server.connect();
            assert_eq!(client.ask(&get("/v2")).status, 200);
            client.send(b"GET /v2 HT").unwrap();
            assert_eq!(client.receive().unwrap().expect("an answer").status, 408);
        });
        scope.spawn(|| {
            let mut client = server.connect();
            client.send(b"PRI * HTTP/2.0\r\n").unwrap();
            assert_eq!(client.receive().unwrap().expect("an answer").status, 408);
        });
        // Bodies.
        let start = post("/classify", &[("content-length", "100000")], b"");
        scope.spawn(move || {
            let bytes = std::iter::once(start).chain((0..120).map(|_| vec![0]));
            let (status, after) = dribble(server.connect(), bytes);
            println!("a byte of a body a second: {status} after {after:.1?}");
            assert!(status == 408 && after < generous);
        });
        scope.spawn(|| {
            let fields = [("transfer-encoding", "chunked")];
            let start = post("/v2/models/demo/infer", &fields, b"");
            let bytes = std::iter::once(start).chain((0..120).map(|_| b"1\r\nx\r\n".to_vec()));
            let (status, _) = dribble(server.connect(), bytes);
            assert_eq!(status, 408);
        });
        // One that has been answered may rest longer than a head may take, and so may one that only connected.
        for asks in [true, false] {
            scope.spawn(move || {
                let mut client = server.connect();
                if asks {
                    assert_eq!(client.ask(&get("/v2")).status, 200);
                }
                std::thread::sleep(HEAD + Duration::from_secs(3));
                assert_eq!(client.ask(&get("/v2")).status, 200, "asked before: {asks}");
            });
        }
        scope.spawn(|| {
            for _ in 0..10 {
                server.is_well();
                std::thread::sleep(Duration::from_secs(1));
            }
        });
    });
    server.until("resnest_connections", |open| open <= 2.0);
    server.has_a_clean_log();
}

/// More than a minute.
#[test]
#[ignore = "by hand: a connection rests for 75 s"]
fn by_hand_a_connection_that_rests_is_closed_in_the_end() {
    let _together = together();
    let server = Server::start(&[]);
    std::thread::scope(|scope| {
        for asks in [false, true] {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.connect();
                if asks {
                    client.ask(&get("/v2"));
                }
                let start = Instant::now();
                assert!(client.receive().unwrap().is_none());
                println!("closed after {:.1?}", start.elapsed());
                assert!(start.elapsed() > Duration::from_secs(70));
            });
        }
    });
}

/// As many files as the system lets us have; how many connections that is, with room for everything else.
fn most_connections(wanted: usize) -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let most = usize::try_from(hard)
        .unwrap_or(usize::MAX)
        .saturating_sub(400);
    if most < wanted {
        println!("only {most} of {wanted} connections: the system allows {hard} files");
    }
    wanted.min(most)
}

#[test]
fn ten_thousand_connections_are_held_and_answered() {
    let _alone = alone();
    let count = most_connections(10_000);
    let server = Server::start(&["--log", "warn"]);
    server.is_well();
    let before = server.memory("VmRSS");
    let mut clients: Vec<Client> = (0..count).map(|_| server.connect()).collect();
    server.until("resnest_connections", |open| open >= count as f64);
    let idle = server.memory("VmRSS") - before;
    let start = Instant::now();
    server.is_well();
    println!(
        "{count} idle connections: {:.1} KiB each, well in {:.1?}",
        idle as f64 / 1024.0 / count as f64,
        start.elapsed()
    );
    // One request each, all sent before any answer is read.
    let request = post("/classify", &[], &crate::images::file("bmp_8.bmp"));
    let start = Instant::now();
    let quarter = count.div_ceil(4);
    std::thread::scope(|scope| {
        for some in clients.chunks_mut(quarter) {
            let request = &request;
            scope.spawn(move || some.iter_mut().for_each(|c| c.send(request).unwrap()));
        }
    });
    server.is_well_or_busy();
    let (mut well, mut busy) = (0, 0);
    for client in &mut clients {
        let answer = client.receive().unwrap().expect("an answer");
        match answer.status {
            200 => well += 1,
            429 => {
                assert!(answer.header("retry-after").is_some());
                busy += 1;
            }
            status => panic!("{status}: {}", answer.text()),
        }
    }
    println!(
        "a request on each: {well} answered, {busy} turned away, in {:.1?}; {} MiB at most",
        start.elapsed(),
        server.memory("VmHWM") >> 20
    );
    assert!(well > 0);
    assert!(server.memory("VmHWM") < before + ((count as u64 * 64) << 10) + (200 << 20));
    drop(clients);
    server.until("resnest_connections", |open| open <= 2.0);
    server.is_well();
    server.has_a_clean_log();
}

impl Server {
    /// The same as `is_well`, where it may be busy with others.
    fn is_well_or_busy(&self) {
        assert_eq!(self.ask(&get("/v2/health/live")).status, 200);
        let answer = self.ask(&post("/classify", &[], HORSE));
        assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
    }
}

/// Where all connections that may be are taken by silent ones, the next one waits for one to go and is answered then.
#[test]
fn beyond_the_limit_connections_wait() {
    let _together = together();
    let mut server = Server::start(&["--max-connections", "5"]);
    let mut silent: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut silent {
        assert_eq!(client.ask(&get("/v2")).status, 200);
    }
    let mut next = server.connect();
    next.send(&get("/v2")).unwrap();
    next.patience(Duration::from_millis(500));
    assert!(next.receive().is_err(), "it waits");
    silent.pop();
    next.patience(crate::server::LONG);
    assert_eq!(next.receive().unwrap().unwrap().status, 200);
    // Those who only rest give way to one who asks.
    silent.push(next);
    let start = Instant::now();
    assert_eq!(server.ask(&get("/v2")).status, 200);
    println!("let in after {:.1?}, as others rested", start.elapsed());
    silent = (0..5).map(|_| server.connect()).collect();
    for client in &mut silent {
        assert_eq!(client.ask(&get("/v2")).status, 200);
    }
    // And where all are taken a signal still ends it, at once.
    let start = Instant::now();
    server.signal("-TERM");
    assert_eq!(server.ended().code(), Some(0));
    println!(
        "ended after {:.1?} with all connections taken",
        start.elapsed()
    );
    assert!(start.elapsed() < Duration::from_secs(25));
}

#[test]
fn requests_in_a_row_are_answered_in_a_row() {
    let _together = together();
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut all = Vec::new();
    for at in 0..50 {
        let id = format!("id-{at}");
        let fields = [("x-request-id", id.as_str())];
        all.extend(match at % 3 {
            0 => post("/classify", &fields, HORSE),
            1 => format!("GET /v2 HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\n\r\n").into_bytes(),
            _ => post("/classify", &fields, b"broken"),
        });
    }
    client.send(&all).unwrap();
    for at in 0..50 {
        let answer = client.receive().unwrap().expect("an answer");
        assert_eq!(answer.status, [200, 200, 422][at % 3]);
        assert_eq!(
            answer.header("x-request-id"),
            Some(format!("id-{at}").as_str())
        );
    }
    server.has_a_clean_log();
}

/// Frames of HTTP/2 by hand: a request answered, and nonsense that ends the connection and nothing else.
#[test]
fn http_2_without_asking_is_understood() {
    let _together = together();
    let server = Server::start(&[]);
    let start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // :method GET, :scheme http, :path /v2, :authority x
    let block = b"\x82\x86\x04\x03/v2\x41\x01x";
    let head = [0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1];
    let request = [&start[..], &head, block].concat();
    let answer = server.connect().until(&request, b"extensions");
    assert!(answer.windows(10).any(|w| w == b"extensions"), "{answer:?}");
    for nonsense in [
        [&start[..], &[0xff; 40]].concat(),
        [&start[..], b"\0\0\x01\x01\x04\0\0\0\x01\xff"].concat(),
        [&start[..], b"\0\x40\0\0\0\0\0\0\x01"].concat(),
        [&start[..], b"\0\0\x08\x06\0\0\0\0\x01pingping"].concat(),
    ] {
        server.connect().until(&nonsense, b"never");
        server.is_well();
    }
    // Requests taken back as fast as they are made.
    let mut flood = start.to_vec();
    for stream in 0..5_000u32 {
        let id = (2 * stream + 1).to_be_bytes();
        flood.extend([&[0, 0, block.len() as u8, 1, 5], &id[..], block].concat());
        flood.extend([&[0, 0, 4, 3, 0], &id[..], &[0, 0, 0, 8]].concat());
    }
    let before = server.memory("VmRSS");
    for _ in 0..5 {
        let mut client = server.connect();
        let _ = client.send(&flood);
    }
    server.is_well();
    let grown = server.memory("VmRSS").saturating_sub(before);
    assert!(grown < 100 << 20, "{grown}");
    server.has_a_clean_log();
}
