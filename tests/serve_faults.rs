//! `resnest serve` under attack: clients that send nonsense, too much or nothing, that leave or never do, and signals at bad
//! moments. Everything is done to the running command, over plain sockets, so that nothing helps either side.
//!
//! The long ones are `by_hand`: `cargo test --release --test serve_faults -- --ignored by_hand --nocapture --test-threads 1`.
#![cfg(target_os = "linux")]

#[path = "serve_faults/bombs.rs"]
mod bombs;
#[path = "serve_faults/client.rs"]
mod client;
mod common;
#[path = "serve_faults/connections.rs"]
mod connections;
#[path = "serve_faults/ending.rs"]
mod ending;
#[path = "serve_faults/images.rs"]
mod images;
#[path = "serve_faults/lengths.rs"]
mod lengths;
#[path = "serve_faults/mutated.rs"]
mod mutated;
#[path = "serve_faults/overload.rs"]
mod overload;
#[path = "serve_faults/pictures.rs"]
mod pictures;
#[path = "serve_faults/reload.rs"]
mod reload;
#[path = "serve_faults/server.rs"]
mod server;
#[path = "serve_faults/values.rs"]
mod values;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

/// For attacks that take all CPUs.
fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// For those that mostly wait, or are short.
fn together() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}
