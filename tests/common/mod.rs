//! What several tests need: where things are.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};

/// The bundled demo model and photos.
pub fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/resnest/demo")
}

/// A path inside the project's shared folder (`RESNEST_SHARED`, else `../shared`), or `None` after saying so: a clone
/// has no such folder.
pub fn shared(inside: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RESNEST_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let path = folder.join(inside);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}
