//! From start to end: loading, ready, draining; and who is still being answered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How far the server is.
#[derive(Debug, Default)]
pub struct Life {
    draining: AtomicBool,
    /// Tells those who wait for it that draining has begun.
    began: Notify,
    requests: AtomicUsize,
    idle: Notify,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Life);

impl Life {
    /// Takes no new requests from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.began.notify_waiters();
    }

    /// Whether new requests are refused.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// One more request is being answered.
    pub fn enter(&self) -> InFlight<'_> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        InFlight(self)
    }

    /// Waits until draining begins.
    pub async fn drained(&self) {
        let began = self.began.notified();
        if !self.draining() {
            began.await;
        }
    }

    /// Waits until no request is being answered.
    pub async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.requests.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
