//! Memory for weights and for scratch.

use super::mapped::MappedWeights;
use crate::threads::PerProcess;
use crate::tuning::{LINE, SHARED_WEIGHTS_FROM, WEIGHTS_CHUNK};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

#[cfg(not(miri))]
use memmap2::{MmapMut, MmapRaw};

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
    /// Of a file, only to be read.
    Mapped(Arc<MappedWeights>),
}

/// Memory for the weights of several layers.
///
/// Several threads write it at once, each its own places, while others read theirs and `settle` moves
/// the whole. So nothing here ever makes a reference to more than a place: a reference to all of it
/// would say that nobody writes meanwhile. [`MmapRaw`] knows addresses and lengths alone.
struct Chunk {
    map: Zeros,
    /// Whether huge pages were asked for.
    settled: AtomicBool,
}

/// Memory that is zero at first, freed when dropped.
#[cfg(not(miri))]
struct Zeros(MmapRaw);

#[cfg(not(miri))]
impl Zeros {
    /// For `len` values, or `None` where the system has no such thing.
    fn new(len: usize) -> Option<Self> {
        let map = MmapMut::map_anon(len.checked_mul(size_of::<f32>())?).ok()?;
        Some(Zeros(map.into()))
    }

    fn values(&self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }

    #[cfg(target_os = "linux")]
    fn move_to_huge_pages(&self) {
        // SAFETY: the range is this mapping; where values lie in physical memory is nobody's
        // business, and they stay what they are. A refusal changes nothing.
        unsafe {
            let start = self.0.as_mut_ptr().cast();
            libc::madvise(start, self.0.len(), libc::MADV_COLLAPSE);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn move_to_huge_pages(&self) {}
}

/// The same from the allocator, for Miri, which maps nothing but sees who touches what.
#[cfg(miri)]
struct Zeros(Box<[LineOfZeros]>);

#[cfg(miri)]
#[repr(align(64))]
#[expect(dead_code, reason = "read and written through an address")]
struct LineOfZeros(std::cell::UnsafeCell<[f32; LINE]>);

// SAFETY: it gives no more than an address away.
#[cfg(miri)]
unsafe impl Sync for Zeros {}

#[cfg(miri)]
impl Zeros {
    fn new(len: usize) -> Option<Self> {
        let line = || LineOfZeros([0.0; LINE].into());
        let lines = std::iter::repeat_with(line).take(len.div_ceil(LINE));
        Some(Zeros(lines.collect()))
    }

    fn values(&self) -> *mut f32 {
        self.0.as_ptr().cast_mut().cast()
    }

    fn move_to_huge_pages(&self) {}
}

/// All chunks, the one that has room yet last, and how much of that is taken.
#[derive(Default)]
struct Chunks {
    all: Vec<Weak<Chunk>>,
    used: usize,
}

/// This process's chunks. A fork begins anew: a thread that it has not may have held the lock, and what is left of the
/// parent's last chunk is the parent's to fill.
fn chunks() -> MutexGuard<'static, Chunks> {
    static CHUNKS: PerProcess<Mutex<Chunks>> = PerProcess::new();
    let chunks = CHUNKS.get_or_init(Mutex::default);
    chunks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Moves all packed weights into huge pages, where the system can (Linux from 6.1).
///
/// A forward walks through all weights. In pages of 4 KB each brings a miss of the TLB and ends the
/// hardware's prefetching; huge pages made a resnest50d 5% faster. Moving the 204 MB
/// of one beside its forwards held one of them up by some 0.3 s, so it is for processes that have many images before them. Results are the same
/// meanwhile and after. What cannot be moved stays where it is.
pub fn settle_weights() {
    let all: Vec<_> = chunks().all.iter().filter_map(Weak::upgrade).collect();
    for chunk in all {
        chunk.settle();
    }
}

impl Chunk {
    /// Memory of at least `len` zeros, or `None` where the system has no such thing.
    fn new(len: usize) -> Option<Arc<Self>> {
        Some(Arc::new(Chunk {
            map: Zeros::new(len.max(WEIGHTS_CHUNK))?,
            settled: AtomicBool::new(false),
        }))
    }

    /// A place for `len` zeros that nobody else has: a chunk, and where in it.
    fn take(len: usize) -> Option<(Arc<Self>, usize)> {
        let mut chunks = chunks();
        let wanted = len.next_multiple_of(LINE);
        if let Some(chunk) = chunks.all.last().and_then(Weak::upgrade)
            && chunks.used + wanted <= WEIGHTS_CHUNK
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
            self.map.move_to_huge_pages();
        }
    }
}

impl Aligned {
    /// `len` zeros, to be kept: weights.
    pub fn zeros(len: usize) -> Self {
        if len >= SHARED_WEIGHTS_FROM
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

    /// The `len` values from value `start` of a file on. They are there, and the file's memory is aligned for them.
    pub(super) fn mapped(file: Arc<MappedWeights>, start: usize, len: usize) -> Self {
        let memory = Memory::Mapped(file);
        Aligned { memory, start, len }
    }

    pub fn as_slice(&self) -> &[f32] {
        match &self.memory {
            Memory::Own(data) => &data[self.start..self.start + self.len],
            // SAFETY: `take` gave this range of the chunk to this value alone.
            Memory::Shared(chunk) => unsafe {
                std::slice::from_raw_parts(chunk.map.values().add(self.start), self.len)
            },
            // SAFETY: `MappedLayer::buffer` checked that these bytes are the file's and are aligned, and any bits
            // are values.
            Memory::Mapped(file) => unsafe {
                let values: *const f32 = file.bytes().as_ptr().cast();
                std::slice::from_raw_parts(values.add(self.start), self.len)
            },
        }
    }

    /// What is mapped is copied first: others read the file too.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        if let Memory::Mapped(_) = self.memory {
            let mut copy = Self::zeros(self.len);
            copy.as_mut_slice().copy_from_slice(self.as_slice());
            *self = copy;
        }
        match &mut self.memory {
            Memory::Own(data) => &mut data[self.start..self.start + self.len],
            // SAFETY: as above, and this value is borrowed for as long.
            Memory::Shared(chunk) => unsafe {
                std::slice::from_raw_parts_mut(chunk.map.values().add(self.start), self.len)
            },
            Memory::Mapped(_) => &mut [],
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The same memory as words of 32 bits.
    pub fn as_words(&self) -> &[u32] {
        words(self.as_slice())
    }

    pub fn as_mut_words(&mut self) -> &mut [u32] {
        words_mut(self.as_mut_slice())
    }
}

/// The bytes of some values, in this machine's order.
pub(crate) fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: bytes have no alignment, and every byte of a value is one.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bits of some values.
pub(crate) fn words(values: &[f32]) -> &[u32] {
    // SAFETY: both types have 32 bits, any of which are a value, and the same alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

/// Words as values, to be handed on: what they mean is for `words` to say.
#[cfg(feature = "candle")]
pub(crate) fn values(words: &[u32]) -> &[f32] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
}

/// The same, to be changed.
pub(crate) fn words_mut(values: &mut [f32]) -> &mut [u32] {
    // SAFETY: as above, and borrowed for as long.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
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
            SHARED_WEIGHTS_FROM,
            SHARED_WEIGHTS_FROM + 5,
            WEIGHTS_CHUNK + 3,
            SHARED_WEIGHTS_FROM,
            3 * WEIGHTS_CHUNK / 4,
            WEIGHTS_CHUNK / 2,
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

    /// As where a network is packed on several threads while others run and one settles the weights.
    #[test]
    fn places_are_written_and_read_while_their_chunks_are_settled() {
        let rounds = if cfg!(miri) { 3 } else { 40 };
        std::thread::scope(|scope| {
            for writer in 0..3 {
                scope.spawn(move || {
                    let mut kept: Vec<Aligned> = Vec::new();
                    for round in 0..rounds {
                        let mut values = Aligned::zeros(SHARED_WEIGHTS_FROM + 7 * writer);
                        assert!(values.as_slice().iter().all(|&v| v == 0.0));
                        values.as_mut_slice().fill((writer * rounds + round) as f32);
                        kept.push(values);
                    }
                    for (round, values) in kept.iter().enumerate() {
                        let expected = (writer * rounds + round) as f32;
                        assert!(values.as_slice().iter().all(|&v| v == expected));
                    }
                });
            }
            scope.spawn(|| (0..rounds).for_each(|_| settle_weights()));
        });
    }

    /// A fork while another thread takes memory for weights: the child gets its own.
    #[cfg(all(unix, not(miri)))]
    #[test]
    fn a_fork_waits_for_no_thread_of_its_parent() {
        let held = chunks();
        // SAFETY: the child takes memory and calls `_exit` only.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // A child that waits for the lock is ended by the alarm.
            // SAFETY: it ends the process, without running anything of the test harness.
            unsafe { libc::alarm(10) };
            let own = Aligned::zeros(SHARED_WEIGHTS_FROM);
            let zeros = own.as_slice().iter().all(|&v| v == 0.0);
            // SAFETY: as above.
            unsafe { libc::_exit(if zeros { 7 } else { 1 }) };
        }
        assert!(child > 0);
        let mut status = 0;
        // SAFETY: the child is ours, and `status` a number.
        let ended = unsafe { libc::waitpid(child, &mut status, 0) };
        drop(held);
        assert_eq!(ended, child);
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7,
            "the child ended with {status:#x}"
        );
    }
}
