//! Links functions with the same machine code once: 0.6 MB of the wheel.

use std::env::{var, var_os};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Rust's own choice of linker there, lld, knows how; another that somebody has set may not.
    let lld = var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-gnu");
    if lld && var_os("RUSTC_LINKER").is_none() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--icf=all");
    }
}
