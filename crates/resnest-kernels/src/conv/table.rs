//! Each thread's table of where the pixels under a kernel lie.

use crate::arch::checked::offsets::OffsetTable;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A thread's table, and for which loop and pixels it was made: many tasks differ in channels alone.
#[derive(Default)]
pub(super) struct Table {
    pub offsets: OffsetTable,
    made_for: Option<(usize, Range<usize>)>,
}

impl Table {
    /// The table for some pixels of a loop, made by `fill` unless it is there.
    pub fn of(&mut self, id: usize, pixels: &Range<usize>, fill: impl FnOnce(&mut OffsetTable)) {
        let key = (id, pixels.clone());
        if self.made_for.as_ref() != Some(&key) {
            fill(&mut self.offsets);
            self.made_for = Some(key);
        }
    }
}

/// A number for a loop over tasks that no other has had.
pub(super) fn new_loop() -> usize {
    static LOOPS: AtomicUsize = AtomicUsize::new(0);
    LOOPS.fetch_add(1, Ordering::Relaxed)
}

thread_local! {
    pub(super) static TABLE: RefCell<Table> = RefCell::default();
}
