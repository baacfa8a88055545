//! One output buffer, many tasks, each writing its own part.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A mutable slice that several tasks write at once, in places that do not overlap.
///
/// It hands out raw pointers and sub-slices; that no two tasks take the same place is the promise of
/// the (unsafe) taker. Its memory may hold nothing yet: then places are [`fresh`](Self::fresh) until
/// they have been written, for there is no reference to an `f32` that is none.
#[derive(Debug)]
pub(crate) struct SharedMut<'a> {
    start: *mut f32,
    len: usize,
    /// Whether there are values in all of it.
    holds_values: bool,
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
            holds_values: true,
            _borrow: PhantomData,
        }
    }

    /// Over memory that holds nothing yet: it must be written before it is read.
    pub fn uninit(slice: &'a mut [MaybeUninit<f32>]) -> Self {
        SharedMut {
            start: slice.as_mut_ptr().cast(),
            len: slice.len(),
            holds_values: false,
            _borrow: PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it was made of values, and not of memory that holds none yet.
    pub fn holds_values(&self) -> bool {
        self.holds_values
    }

    pub fn as_ptr(&self) -> *mut f32 {
        self.start
    }

    /// All values from `start` on, to be shared like the whole.
    pub fn after(&mut self, start: usize) -> SharedMut<'_> {
        assert!(start <= self.len, "outside the shared slice");
        SharedMut {
            start: self.start.wrapping_add(start),
            len: self.len - start,
            holds_values: self.holds_values,
            _borrow: PhantomData,
        }
    }

    /// The places from `start` to `start + len`, to be written.
    ///
    /// # Safety
    /// No other task may touch them while the slice lives, and what held values does so again then.
    #[expect(clippy::mut_from_ref, reason = "that is what the type is for")]
    pub unsafe fn fresh(&self, start: usize, len: usize) -> &mut [MaybeUninit<f32>] {
        let first = self.place(start, len).cast();
        // SAFETY: in bounds, and such a place may hold anything; unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(first, len) }
    }

    /// The values from `start` to `start + len`, to be changed.
    ///
    /// # Safety
    /// They have been written, and no other task may touch them while the slice lives.
    #[expect(clippy::mut_from_ref, reason = "that is what the type is for")]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &mut [f32] {
        let first = self.place(start, len);
        // SAFETY: in bounds; written and unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(first, len) }
    }

    /// The values from `start` to `start + len`, to be read.
    ///
    /// # Safety
    /// They have been written, and no task may write them while the slice lives.
    pub unsafe fn written(&self, start: usize, len: usize) -> &[f32] {
        let first = self.place(start, len);
        // SAFETY: in bounds; written and not written meanwhile by the caller's promise.
        unsafe { std::slice::from_raw_parts(first, len) }
    }

    /// Where `len` values from `start` on begin.
    pub fn place(&self, start: usize, len: usize) -> *mut f32 {
        assert!(
            start <= self.len && len <= self.len - start,
            "outside the shared slice"
        );
        self.start.wrapping_add(start)
    }
}
