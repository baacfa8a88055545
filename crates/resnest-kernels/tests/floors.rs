//! The floors of the crate: each file imports from its own and those below, and there are no circles.
#![cfg(not(miri))]

use std::path::Path;

#[path = "../../../tests/floors/mod.rs"]
mod floors;

use floors::{Floor, check};

/// From the ground up.
const FLOORS: [Floor; 11] = [
    (
        "ground",
        &[
            "error.rs",
            "shape.rs",
            "tuning.rs",
            "partition.rs",
            "quantise.rs",
            "fold.rs",
        ],
    ),
    ("threads", &["threads"]),
    ("memory", &["memory"]),
    (
        "kernels",
        &[
            "arch/vector.rs",
            "arch/dot.rs",
            "arch/form.rs",
            "arch/prefetch.rs",
            "arch/kernels",
        ],
    ),
    ("instruction sets", &["arch"]),
    ("checked", &["arch/checked"]),
    ("maps", &["layout.rs", "pool.rs", "gate.rs"]),
    ("convolutions", &["conv", "plan.rs"]),
    (
        "several layers as one",
        &["attention.rs", "splits.rs", "naive.rs"],
    ),
    ("tensors", &["tensor"]),
    ("the crate", &["lib.rs"]),
];

#[test]
fn files_import_from_below_and_never_in_a_circle() {
    if let Err(problems) = check(Path::new(env!("CARGO_MANIFEST_DIR")), &FLOORS) {
        panic!("{problems}");
    }
}
