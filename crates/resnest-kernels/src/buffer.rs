//! Memory for weights and for scratch.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::MmapMut;

/// Values that start on a cache line, so that no register of weights straddles two.
///
/// Many of them share a [`Chunk`]; small ones have memory of their own.
pub(crate) struct Aligned {
    memory: Memory,
    start: usize,
    len: usize,
}

enum Memory {
    Own(Vec<f32>),
    Shared(Arc<Chunk>),
}

/// Fewer values than this (256 KB) are not worth a place in a chunk.
const SHARED_FROM: usize = 64 * 1024;
/// Values of a chunk: 32 MB.
const CHUNK: usize = 8 * 1024 * 1024;
/// Values of a cache line.
pub(crate) const LINE: usize = 16;

/// Memory for the weights of several layers.
struct Chunk {
    /// Owns what `values` points to.
    map: MmapMut,
    values: *mut f32,
    /// Whether huge pages were asked for.
    settled: AtomicBool,
}

// SAFETY: places in a chunk are handed out once each; whoever has one reads and writes it as its own.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

/// All chunks, the one that has room yet last, and how much of that is taken.
struct Chunks {
    all: Vec<Weak<Chunk>>,
    used: usize,
}

static CHUNKS: Mutex<Chunks> = Mutex::new(Chunks {
    all: Vec::new(),
    used: 0,
});

/// Moves all packed weights into huge pages, where the system can (Linux from 6.1).
///
/// A forward walks through all weights. In pages of 4 KB each brings a miss of the TLB and ends the
/// hardware's prefetching; huge pages made a resnest50d 5% faster. Moving the 204 MB
/// of one beside its forwards held one of them up by some 0.3 s, so it is for processes that have many images before them. Results are the same
/// meanwhile and after. What cannot be moved stays where it is.
pub fn settle_weights() {
    let chunks: Vec<_> = {
        let chunks = CHUNKS.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.all.iter().filter_map(Weak::upgrade).collect()
    };
    for chunk in chunks {
        chunk.settle();
    }
}

impl Chunk {
    /// Memory of at least `len` zeros, or `None` where the system has no such thing.
    fn new(len: usize) -> Option<Arc<Self>> {
        if cfg!(miri) {
            return None;
        }
        let mut map = MmapMut::map_anon(len.max(CHUNK) * size_of::<f32>()).ok()?;
        let values = map.as_mut_ptr().cast();
        let settled = AtomicBool::new(false);
        Some(Arc::new(Chunk {
            map,
            values,
            settled,
        }))
    }

    /// A place for `len` zeros that nobody else has: a chunk, and where in it.
    fn take(len: usize) -> Option<(Arc<Self>, usize)> {
        let mut chunks = CHUNKS.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = len.next_multiple_of(LINE);
        if let Some(chunk) = chunks.all.last().and_then(Weak::upgrade)
            && chunks.used + wanted <= CHUNK
        {
            chunks.used += wanted;
            return Some((chunk, chunks.used - wanted));
        }
        let fresh = Chunk::new(wanted)?;
        chunks.all.retain(|chunk| chunk.strong_count() > 0);
        chunks.all.push(Arc::downgrade(&fresh));
        chunks.used = wanted;
        Some((fresh, 0))
    }

    fn settle(&self) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            #[cfg(target_os = "linux")]
            // SAFETY: the range is this mapping; where values lie in physical memory is nobody's
            // business, and they stay what they are. A refusal changes nothing.
            unsafe {
                let start = self.map.as_ptr().cast_mut().cast();
                libc::madvise(start, self.map.len(), libc::MADV_COLLAPSE);
            }
        }
    }
}

impl Aligned {
    /// `len` zeros, to be kept: weights.
    pub fn zeros(len: usize) -> Self {
        if len >= SHARED_FROM
            && let Some((chunk, start)) = Chunk::take(len)
        {
            let memory = Memory::Shared(chunk);
            return Aligned { memory, start, len };
        }
        Self::own(len)
    }

    /// `len` zeros in memory of their own.
    fn own(len: usize) -> Self {
        let data = vec![0.0; len + LINE];
        let start = data.as_ptr().align_offset(64).min(LINE);
        let memory = Memory::Own(data);
        Aligned { memory, start, len }
    }

    pub fn as_slice(&self) -> &[f32] {
        match &self.memory {
            Memory::Own(data) => &data[self.start..self.start + self.len],
            // SAFETY: `take` gave this range of the chunk to this value alone.
            Memory::Shared(chunk) => unsafe {
                std::slice::from_raw_parts(chunk.values.add(self.start), self.len)
            },
        }
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        match &mut self.memory {
            Memory::Own(data) => &mut data[self.start..self.start + self.len],
            // SAFETY: as above, and this value is borrowed for as long.
            Memory::Shared(chunk) => unsafe {
                std::slice::from_raw_parts_mut(chunk.values.add(self.start), self.len)
            },
        }
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
        _ => Aligned::own(len),
    };
    let result = f(&mut buffer.as_mut_slice()[..len]);
    SCRATCH.with_borrow_mut(|kept| kept.push(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_aligned_zero_and_their_own() {
        let sizes = [
            1,
            17,
            SHARED_FROM,
            SHARED_FROM + 5,
            CHUNK + 3,
            SHARED_FROM,
            3 * CHUNK / 4,
            CHUNK / 2,
        ];
        let mut all: Vec<Aligned> = sizes.map(Aligned::zeros).into();
        for (i, values) in all.iter_mut().enumerate() {
            assert_eq!(values.as_slice().as_ptr().align_offset(64), 0, "{i}");
            assert!(values.as_slice().iter().all(|&v| v == 0.0), "{i}");
            values.as_mut_slice().fill(i as f32 + 1.0);
        }
        settle_weights();
        for (i, (values, len)) in all.iter().zip(sizes).enumerate() {
            assert_eq!(values.len(), len);
            assert!(
                values.as_slice().iter().all(|&v| v == i as f32 + 1.0),
                "{i}"
            );
        }
    }
}
