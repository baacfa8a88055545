//! Beginning and end: addresses, variables, exit statuses, signals.

use std::io::Write;
use std::net::TcpListener;

use crate::common::{demo, stderr, stdout};
use crate::server::{Answer, Server, quietly, serve};

fn photo() -> Vec<u8> {
    std::fs::read(demo().join("photos/horse.png")).unwrap()
}

#[test]
fn the_line_of_readiness_has_the_address_and_the_models() {
    let server = Server::demo(&["--model", "twin=demo"]);
    let line = format!("resnest: ready: http://{} (demo, twin)\n", server.address);
    assert_eq!(server.ready, line);
    assert!(server.address.starts_with("127.0.0.1:") && !server.address.ends_with(":0"));
    for path in [
        "/health",
        "/ping",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/twin/ready",
    ] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let both = [
        &["--model", "demo", "--grpc", "127.0.0.1:0"],
        &quietly()[..2],
    ]
    .concat();
    let both = Server::start(serve(&both));
    let grpc = both.grpc().expect("an address");
    let line = format!(
        "resnest: ready: http://{} grpc://{grpc} (demo)\n",
        both.address
    );
    assert_eq!(both.ready, line);
    assert!(both.address != server.address && both.address != grpc && !grpc.ends_with(":0"));
}

#[test]
fn what_cannot_be_is_refused_with_2_before_anything_is_loaded() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("keys");
    std::fs::write(&empty, "\n \n").unwrap();
    let (empty, absent) = (empty.to_str().unwrap(), folder.path().join("absent"));
    for (arguments, says) in [
        (
            &["--model", "demo", "--grpc", "off", "--http", &taken][..],
            taken.as_str(),
        ),
        (
            &["--model", "demo", "--http", "127.0.0.1:0", "--grpc", &taken],
            &taken,
        ),
        (
            &["--model", "demo", "--grpc", "off", "--http", "nowhere"],
            "nowhere",
        ),
        (&["--model", "demo", "--model", "demo"], "demo"),
        (&["--model", "a b=demo"], "a b"),
        (&[], "--model"),
        (&["--model", "demo", "--max-batch", "0"], "--max-batch"),
        (&["--model", "demo", "--queue", "0"], "--queue"),
        (
            &["--model", "demo", "--drain-timeout", "0"],
            "--drain-timeout",
        ),
        (&["--model", "demo", "--api-key-file", empty], "no key"),
        (
            &[
                "--model",
                "demo",
                "--api-key-file",
                absent.to_str().unwrap(),
            ],
            "absent",
        ),
        (
            &[
                "--model",
                "demo",
                "--log",
                "a=b=c",
                "--grpc",
                "off",
                "--http",
                "127.0.0.1:0",
            ],
            "--log",
        ),
    ] {
        let output = serve(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(says),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(stdout(&output).is_empty() && !stderr(&output).contains("loaded"));
    }
}

#[test]
fn a_check_loads_answers_and_ends() {
    let twin = format!("twin=local-dir:{}", demo().display());
    // No port is taken for it.
    let output = serve(&[
        "--model", "demo", "--model", &twin, "--check", "--http", "nowhere",
    ]);
    let output = { output }.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("demo: ") && lines[1].starts_with("twin: "),
        "{text}"
    );
    assert!(text.contains("10 numbers"), "{text}");
    let output = serve(&[
        "--model",
        "demo",
        "--model",
        "bad=local-dir:/nonexistent",
        "--check",
    ]);
    let output = { output }.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("demo: ") && stderr(&output).contains("bad"));
}

#[test]
fn variables_say_what_options_say_and_options_win() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "k").unwrap();
    let mut command = serve(&[]);
    command.env(
        "RESNEST_MODEL",
        format!("demo,twin=local-dir:{}", demo().display()),
    );
    for (name, value) in [
        ("RESNEST_HTTP", "127.0.0.1:0"),
        ("RESNEST_GRPC", "off"),
        ("RESNEST_API_KEY_FILE", keys.to_str().unwrap()),
        ("RESNEST_CORS_ORIGIN", "https://a.example,https://b.example"),
        ("RESNEST_MODEL_CONTROL", "explicit"),
        ("RESNEST_MAX_BODY", "70K"),
        ("RESNEST_LOG_FORMAT", "json"),
        ("RESNEST_THREADS", "1"),
    ] {
        command.env(name, value);
    }
    let server = Server::start(command);
    assert!(server.ready.ends_with("(demo, twin)\n"), "{}", server.ready);
    assert_eq!(server.get("/v2").status, 401);
    let key = ("x-api-key", "k");
    for origin in ["https://a.example", "https://b.example"] {
        let answer = server.ask("GET", "/v2", &[key, ("origin", origin)], b"");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
    let answer = server.ask("POST", "/v2/repository/models/twin/unload", &[key], b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let large = server.ask("POST", "/classify", &[key], &vec![0; 70 * 1024 + 1]);
    assert!(large.error(413).contains("71680"));
    assert!(server.log().starts_with('{'), "{}", server.log());

    let mut command = serve(
        &[
            &["--model", "demo", "--model-control", "none"],
            &quietly()[..],
        ]
        .concat(),
    );
    command
        .env("RESNEST_MODEL", "absent")
        .env("RESNEST_MODEL_CONTROL", "explicit");
    let server = Server::start(command);
    assert!(server.ready.ends_with("(demo)\n"), "{}", server.ready);
    assert!(
        server
            .post("/v2/repository/models/demo/unload", b"")
            .error(403)
            .contains("--model-control")
    );
    let output = serve(&["--model", "demo"])
        .env("RESNEST_MAX_BATCH", "many")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("--max-batch"),
        "{}",
        stderr(&output)
    );
}

#[test]
#[cfg(unix)]
fn a_signal_ends_it_with_0() {
    for signal in ["TERM", "INT"] {
        let server = Server::demo(&[]);
        server.signal(signal);
        let (status, log) = server.ended();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
#[cfg(unix)]
fn what_is_in_flight_is_answered_and_nothing_else_is_taken() {
    let server = Server::demo(&[]);
    let photo = photo();
    let mut slow = server.begin("POST", "/classify", &[], photo.len());
    slow.write_all(&photo[..1000]).unwrap();
    // It is in flight once something that came after it was answered.
    assert_eq!(server.get("/v2/health/ready").status, 200);
    std::thread::sleep(std::time::Duration::from_millis(100));
    server.signal("TERM");
    while server.get("/v2/health/ready").status != 503 {}
    assert!(
        server
            .post("/classify", &photo)
            .error(503)
            .contains("shutting down")
    );
    slow.write_all(&photo[1000..]).unwrap();
    let answer = Answer::read(slow);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()[0]["label"], "horse");
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
#[cfg(unix)]
fn a_second_signal_ends_it_at_once() {
    let server = Server::demo(&[]);
    let slow = server.begin("POST", "/classify", &[], 1000);
    std::thread::sleep(std::time::Duration::from_millis(100));
    server.signal("TERM");
    while server.get("/v2/health/ready").status != 503 {}
    server.signal("TERM");
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(130), "{log}");
    drop(slow);
}
