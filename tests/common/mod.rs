//! What several tests need: where things are, and the command.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

mod root;
pub use root::root;

/// The bundled demo model and photos.
pub fn demo() -> PathBuf {
    root().join("crates/resnest/demo")
}

/// A path inside the project's shared folder (`RESNEST_SHARED`, else `../shared`), which a clone does not have: tests that
/// need it are ignored unless they are asked for, and fail without it.
pub fn shared(inside: &str) -> PathBuf {
    let folder = std::env::var_os("RESNEST_SHARED").unwrap_or_else(|| "../shared".into());
    let path = root().join(folder).join(inside);
    assert!(
        path.exists(),
        "{} is not there: set RESNEST_SHARED",
        path.display()
    );
    path
}

/// Runs `resnest` away from the user's own cache and from any network.
pub fn resnest(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// The same, not yet started.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resnest"));
    command
        .args(arguments)
        .env("HF_HOME", "/nonexistent/resnest-tests")
        .env("HF_HUB_OFFLINE", "1")
        .env_remove("HF_HUB_CACHE")
        .stdin(Stdio::null());
    command
}

/// What it wrote as results.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it wrote besides.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Shape and values of an `.npy` file of f32, whose header is as numpy writes it.
pub fn npy(bytes: &[u8]) -> (Vec<u64>, Vec<f32>) {
    let len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\0");
    assert_eq!((10 + len) % 64, 0);
    let text = str::from_utf8(&bytes[10..10 + len]).unwrap();
    let shape = text
        .strip_prefix("{'descr': '<f4', 'fortran_order': False, 'shape': (")
        .and_then(|text| text.strip_suffix('\n')?.trim_end().strip_suffix("), }"));
    let sides = shape.unwrap().split(',').map(str::trim);
    let sides = sides.filter(|side| !side.is_empty());
    let shape: Vec<u64> = sides.map(|side| side.parse().unwrap()).collect();
    let (values, odd) = bytes[10 + len..].as_chunks();
    assert_eq!(odd, [0u8; 0]);
    let values: Vec<f32> = values.iter().map(|&v| f32::from_le_bytes(v)).collect();
    assert_eq!(shape.iter().product::<u64>(), values.len() as u64);
    (shape, values)
}

/// A field that is a number.
pub fn number(object: &Value, field: &str) -> f64 {
    let value = object[field].as_f64();
    value.unwrap_or_else(|| panic!("{field} is {}", object[field]))
}

/// The names of an object's fields, sorted.
pub fn fields(object: &Value) -> Vec<&str> {
    let mut fields: Vec<&str> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    fields
}
