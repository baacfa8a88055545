//! Ctrl-C: once to stop in good order, twice to stop at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use resnest::image::contain;

/// Whether the user has asked to stop.
#[derive(Clone)]
pub struct Stop(Arc<AtomicBool>);

/// What shells report of a program that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

impl Stop {
    /// Watches for Ctrl-C from now on.
    pub fn new() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&asked);
        let handler = move || {
            if watched.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(INTERRUPTED));
            }
            eprintln!("stopping after this batch; once more to stop at once");
        };
        // It starts a thread, and panics where there is none to be had.
        match contain(|| ctrlc::set_handler(handler)) {
            Ok(set) => set.context("cannot watch for Ctrl-C")?,
            Err(reason) => bail!("cannot watch for Ctrl-C: {reason}"),
        }
        Ok(Self(asked))
    }

    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
