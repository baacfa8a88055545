//! The floors of the crate: each file imports from its own and those below, and there are no circles.

use std::path::Path;

#[path = "../../../tests/floors/mod.rs"]
mod floors;

use floors::{Floor, check};

/// From the ground up.
const FLOORS: [Floor; 8] = [
    (
        "ground",
        &[
            "config",
            "error.rs",
            "helpers.rs",
            "init.rs",
            "recorder.rs",
            "trace.rs",
        ],
    ),
    ("fuse", &["fuse.rs", "store.rs"]),
    ("layers", &["layers"]),
    ("block", &["block.rs"]),
    ("models", &["models"]),
    ("registry", &["models/registry.rs", "models/validate.rs"]),
    ("network", &["network", "test_time_pool.rs", "spec.rs"]),
    ("the crate", &["lib.rs"]),
];

#[test]
fn files_import_from_below_and_never_in_a_circle() {
    if let Err(problems) = check(Path::new(env!("CARGO_MANIFEST_DIR")), &FLOORS) {
        panic!("{problems}");
    }
}
