//! Small bodies that want to become large: refused, and with little memory.

use crate::client::post;
use crate::images::{HORSE, file};
use crate::lengths::gzip;
use crate::server::Server;
use crate::{alone, pictures, together};

const MIB: u64 = 1 << 20;

#[test]
fn pictures_that_say_they_are_huge_cost_nothing() {
    let _together = together();
    let server = Server::start(&[]);
    server.is_well();
    let before = server.memory("VmHWM");
    let jpeg = file("jpeg_411_base_17x90.jpg");
    for (name, bytes) in [
        ("png", pictures::lying_png(100_000, 100_000)),
        (
            "png of all",
            pictures::lying_png(u32::MAX >> 1, u32::MAX >> 1),
        ),
        ("wide png", pictures::lying_png(49_000_000, 1_000)),
        ("jpeg", pictures::lying_jpeg(&jpeg, 65_500, 65_500)),
        ("gif", pictures::lying_gif(65_535, 65_535)),
        ("bmp", pictures::lying_bmp(i32::MAX, i32::MAX)),
        ("bmp upside down", pictures::lying_bmp(60_000, -60_000)),
        ("nothing to a png", pictures::lying_png(0, 0)),
    ] {
        let answer = server.ask(&post("/classify", &[], &bytes));
        assert_eq!(answer.status, 422, "{name}: {}", answer.text());
        answer.error();
    }
    let grown = server.memory("VmHWM") - before;
    println!("pictures that lie: {} MiB more", grown / MIB);
    assert!(grown < 64 * MIB, "{} MiB", grown / MIB);
    server.is_well();
    server.has_a_clean_log();
}

/// Within the limits of pixels, and still decoded only a few at a time.
#[test]
fn large_pictures_are_decoded_a_few_at_a_time() {
    let _alone = alone();
    let server = Server::start(&["--threads", "2"]);
    server.is_well();
    let before = server.memory("VmHWM");
    // 75 MB each once decoded, 90 KB to send.
    let large = post("/classify", &[], &pictures::png(5000, 5000, [10, 20, 30]));
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| assert_eq!(server.ask(&large).status, 200));
        }
    });
    let grown = server.memory("VmHWM") - before;
    println!("12 pictures of 75 MB at once: {} MiB more", grown / MIB);
    assert!(grown < 400 * MIB, "{} MiB", grown / MIB);
    server.is_well();
}

#[test]
fn a_bomb_stops_at_the_limit_and_many_share_theirs() {
    let _alone = alone();
    let server = Server::start(&["--max-body", "16M"]);
    server.is_well();
    let before = server.memory("VmHWM");
    let bomb = gzip(&vec![0; 512 << 20]);
    let coding = [("content-encoding", "gzip")];
    for path in ["/classify", "/v2/models/demo/infer"] {
        let answer = server.ask(&post(path, &coding, &bomb));
        assert_eq!(answer.status, 413, "{}", answer.text());
        answer.error();
    }
    let grown = server.memory("VmHWM") - before;
    println!(
        "a bomb of 512 MiB in {} KiB: {} MiB more",
        bomb.len() >> 10,
        grown / MIB
    );
    assert!(grown < 64 * MIB, "{} MiB", grown / MIB);
    drop(server);

    // None of these is over the limit of one.
    let server = Server::start(&[]);
    server.is_well();
    let before = server.memory("VmHWM");
    let large = post("/classify", &coding, &gzip(&vec![0; 60 << 20]));
    let mut statuses = Vec::new();
    std::thread::scope(|scope| {
        let asks: Vec<_> = (0..64)
            .map(|_| scope.spawn(|| server.ask(&large)))
            .collect();
        for ask in asks {
            let answer = ask.join().unwrap();
            answer.error();
            assert!(
                answer.status == 422 || answer.header("retry-after").is_some(),
                "{}",
                answer.head
            );
            statuses.push(answer.status);
        }
    });
    assert!(
        statuses.iter().all(|status| matches!(status, 422 | 429)),
        "{statuses:?}"
    );
    let grown = server.memory("VmHWM") - before;
    println!(
        "64 bodies of 60 MiB from {} KiB each: {} MiB more",
        large.len() >> 10,
        grown / MIB
    );
    assert!(grown < 900 * MIB, "{} MiB", grown / MIB);
    server.is_well();
    server.has_a_clean_log();
}

/// A client that sends everything before it listens still reads why it was refused.
#[test]
fn who_sends_too_much_is_told_so() {
    let _together = together();
    let server = Server::start(&["--max-body", "1M"]);
    for size in [(1 << 20) + 1, 20 << 20, 70 << 20] {
        for _ in 0..3 {
            let answer = server.ask(&post("/classify", &[], &vec![0; size]));
            assert_eq!(answer.status, 413, "{}", answer.text());
            assert!(answer.error().contains("1048576"));
        }
        let mut body = format!("{size:x}\r\n").into_bytes();
        body.resize(body.len() + size, 0);
        body.extend(b"\r\n0\r\n\r\n");
        let te = [("transfer-encoding", "chunked")];
        let answer = server.ask(&post("/classify", &te, &body));
        assert_eq!(answer.status, 413, "{}", answer.text());
    }
    // One that asks first is refused before it sends anything.
    let mut client = server.connect();
    let fields = [("expect", "100-continue"), ("content-length", "99999999")];
    let answer = client.ask(&post("/classify", &fields, b""));
    assert_eq!(answer.status, 413);
    let length = HORSE.len().to_string();
    let mut client = server.connect();
    let fields = [
        ("expect", "100-continue"),
        ("content-length", length.as_str()),
    ];
    client.send(&post("/classify", &fields, b"")).unwrap();
    client.send(HORSE).unwrap();
    assert_eq!(client.receive().unwrap().unwrap().status, 200);
    server.is_well();
}
