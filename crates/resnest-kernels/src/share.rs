//! One output buffer, many tasks, each writing its own part.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A mutable slice that several tasks write at once, in places that do not overlap.
///
/// It hands out raw pointers and exclusive sub-slices; that no two tasks take the same place is
/// the promise of the (unsafe) taker.
pub(crate) struct SharedMut<'a> {
    start: *mut f32,
    len: usize,
    _borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a borrowed slice of plain numbers; taking places from it is unsafe and demands
// that they do not overlap.
unsafe impl Send for SharedMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedMut<'_> {}

impl<'a> SharedMut<'a> {
    pub fn new(slice: &'a mut [f32]) -> Self {
        SharedMut {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            _borrow: PhantomData,
        }
    }

    /// Over memory that holds nothing yet: it must be written before it is read.
    pub fn uninit(slice: &'a mut [MaybeUninit<f32>]) -> Self {
        SharedMut {
            start: slice.as_mut_ptr().cast(),
            len: slice.len(),
            _borrow: PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn as_ptr(&self) -> *mut f32 {
        self.start
    }

    /// All values from `start` on, to be shared like the whole.
    pub fn after(&self, start: usize) -> SharedMut<'_> {
        assert!(start <= self.len, "outside the shared slice");
        SharedMut {
            start: self.start.wrapping_add(start),
            len: self.len - start,
            _borrow: PhantomData,
        }
    }

    /// The values from `start` to `start + len`.
    ///
    /// # Safety
    /// No other task may touch them while the slice lives, and if the memory was uninitialised
    /// the caller writes each value before reading it.
    #[expect(clippy::mut_from_ref, reason = "that is what the type is for")]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &mut [f32] {
        assert!(
            start <= self.len && len <= self.len - start,
            "outside the shared slice"
        );
        // SAFETY: in bounds by the assertion, unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
