//! Memory for weights and for scratch.

use std::cell::RefCell;

/// Values that start on a cache line, so that no register of weights straddles two.
pub(crate) struct Aligned {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let data = vec![0.0; len + 16];
        let start = data.as_ptr().align_offset(64).min(16);
        Aligned { data, start, len }
    }

    pub fn as_slice(&self) -> &[f32] {
        &self.data[self.start..self.start + self.len]
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data[self.start..self.start + self.len]
    }

    pub fn len(&self) -> usize {
        self.len
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Aligned>> = const { RefCell::new(Vec::new()) };
}

/// Lends `f` at least `len` values of this thread's scratch memory, with anything in them.
///
/// Buffers are kept for the thread's next call; nested calls get different ones.
pub(crate) fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let kept = SCRATCH.with_borrow_mut(Vec::pop);
    let mut buffer = match kept {
        Some(buffer) if buffer.len() >= len => buffer,
        _ => Aligned::zeros(len),
    };
    let result = f(&mut buffer.as_mut_slice()[..len]);
    SCRATCH.with_borrow_mut(|kept| kept.push(buffer));
    result
}
