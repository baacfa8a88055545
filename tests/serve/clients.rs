//! Real clients in Python and curl: `tests/serve/*.py`, each with a server of its own.
//!
//! Ignored unless asked for, as they need a Python with what `tests/serve/requirements.txt` lists (`RESNEST_PYTHON`, else
//! `python3`) and the shared photos. A client that is not there is skipped, and standard error says so; with
//! `RESNEST_CLIENTS=all`, as CI has it, that is a failure.

use std::io::Write;
use std::process::Command;

use crate::common::{demo, root, shared, stderr, stdout};
use crate::server::{Server, quietly, serve};

const COMMAND: &str = env!("CARGO_BIN_EXE_resnest");

/// The interpreter, away from what the environment says of proxies and hubs.
fn python() -> Command {
    let python = std::env::var_os("RESNEST_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy().to_ascii_uppercase();
        if name.ends_with("_PROXY") {
            command.env_remove(variable);
        }
    }
    command
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn script(name: &str, server: &Server, arguments: &[&str]) {
    let output = python()
        .arg(root().join("tests/serve").join(name))
        .arg(format!("http://{}", server.address))
        .args(arguments)
        .output()
        .unwrap();
    let told = stdout(&output);
    assert!(
        output.status.success(),
        "{told}{}\n{}",
        stderr(&output),
        server.log()
    );
    for line in told.lines().filter(|line| line.starts_with("skipped")) {
        skipped(&format!("{name}: {line}"));
    }
}

/// Says so past cargo, which keeps what a test that passes prints.
fn skipped(what: &str) {
    let line = format!("{what}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    let all = std::env::var_os("RESNEST_CLIENTS").is_some_and(|which| which == "all");
    // What is no package of Python's cannot be installed with them.
    let elsewhere = what.contains("RESNEST_OIP_YAML") || what.contains("no Chromium");
    assert!(!all || elsewhere, "RESNEST_CLIENTS=all, but {what}");
}

fn with_photos(name: &str, server: &Server) {
    let photos = shared("data/photos").display().to_string();
    script(name, server, &[COMMAND, &photos]);
}

fn two_models() -> Server {
    let twin = format!("twin=local-dir:{}", demo().display());
    Server::demo(&["--model", &twin, "--model-control", "explicit"])
}

#[test]
#[ignore = "needs RESNEST_PYTHON with tritonclient and kserve, and RESNEST_SHARED: photos"]
fn triton_and_kserve() {
    with_photos("oip_clients.py", &two_models());
}

#[test]
#[ignore = "needs RESNEST_PYTHON with huggingface_hub, curl, and RESNEST_SHARED: photos"]
fn hugging_face_and_curl() {
    with_photos("other_clients.py", &two_models());
}

#[test]
#[ignore = "needs RESNEST_PYTHON with numpy, and RESNEST_SHARED: photos"]
fn a_hundred_photos_alone_and_in_batches_of_any_size() {
    with_photos("hundred.py", &Server::demo(&[]));
}

#[test]
#[ignore = "needs RESNEST_PYTHON with schemathesis; RESNEST_OIP_YAML for the protocol's own description"]
fn nothing_is_answered_that_is_not_described() {
    script("schema.py", &Server::demo(&[]), &[]);
}

#[test]
#[ignore = "needs RESNEST_PYTHON with tritonclient's gRPC, grpcio-reflection and grpcio-health-checking"]
fn triton_over_grpc() {
    let modules = "import tritonclient.grpc, grpc_reflection.v1alpha, grpc_health.v1";
    let imported = python().args(["-c", modules]).output().unwrap();
    if !imported.status.success() {
        let why = stderr(&imported);
        let why = why.lines().last().unwrap_or("no Python");
        return skipped(&format!("grpc_clients.py: skipped: {why}"));
    }
    let arguments = [
        &["--model", "demo"],
        &quietly()[..2],
        &["--grpc", "127.0.0.1:0"],
    ]
    .concat();
    let server = Server::start(serve(&arguments));
    let grpc = server.grpc().expect("an address");
    script("grpc_clients.py", &server, &[&grpc, COMMAND]);
}

#[test]
#[ignore = "needs RESNEST_PYTHON with playwright, requests and huggingface_hub, and Debian's chromium (or CHROMIUM)"]
fn the_page_in_chromium() {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    if !std::path::Path::new(&chromium).exists() {
        return skipped(&format!(
            "page.py: skipped: there is no Chromium at {chromium}"
        ));
    }
    let imported = python().args(["-c", "import playwright.sync_api"]).output();
    if !imported.unwrap().status.success() {
        return skipped("page.py: skipped: there is no playwright");
    }
    let pictures = tempfile::tempdir().unwrap();
    let pictures = pictures.path().display().to_string();
    script("page.py", &Server::demo(&[]), &[&pictures]);
}

#[test]
#[ignore = "needs RESNEST_PYTHON with grpcio"]
fn spans_at_a_collector() {
    script("otlp.py", &Server::demo(&[]), &[COMMAND]);
}
