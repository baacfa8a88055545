//! Memory for the maps that the kernels put out.

use super::rows::{RowLayout, Rows, for_each_share};
use super::share::SharedMut;
use crate::tuning::{ALIGNED_MAP_FROM, LINE};
#[cfg(feature = "candle")]
use crate::{threads::parallel::parallel_for, tuning::JOIN_VALUES};
use std::convert::Infallible;
use std::ops::Deref;

/// The values of an activation, the first of them on a cache line.
///
/// Allocators start a vector on any multiple of 16 bytes. Every second register that AVX2 stores into
/// such a map, and every one of AVX-512, may then straddle two lines: 4% of a resnest50d. So a map is a
/// vector a little longer than its values, and begins where a line does.
#[derive(Debug, Default)]
pub struct Map {
    values: Vec<f32>,
    start: usize,
}

/// Bytes of a cache line.
const LINE_BYTES: usize = LINE * size_of::<f32>();

impl Map {
    /// A map of `len` values made by `fill`, which must write every one of them.
    ///
    /// # Safety
    /// `fill` writes all `len` values unless it returns an error or panics.
    pub(crate) unsafe fn written_by<E>(
        len: usize,
        fill: impl FnOnce(&mut SharedMut) -> Result<(), E>,
    ) -> Result<Self, E> {
        let slack = if len < ALIGNED_MAP_FROM { 0 } else { LINE - 1 };
        let mut values: Vec<f32> = Vec::with_capacity(len + slack);
        let start = values.as_ptr().align_offset(LINE_BYTES).min(slack);
        // The capacity is there: the vector stays where it is.
        values.resize(start, 0.0);
        fill(&mut SharedMut::uninit(
            &mut values.spare_capacity_mut()[..len],
        ))?;
        // SAFETY: the capacity is there, and `fill` has written the values after the first `start`.
        unsafe { values.set_len(start + len) };
        Ok(Map { values, start })
    }

    /// A map of `layout`, which has no gaps, made by `tasks` tasks: each is given rows that no other has, to be
    /// written. They hold zeros.
    pub(crate) fn from_rows(
        layout: RowLayout,
        tasks: usize,
        work: usize,
        task: impl Fn(Rows) + Sync,
    ) -> Self {
        let len = layout.dense_len();
        let fill = |out: &mut SharedMut| {
            for_each_share(out, layout, tasks, work, task);
            Ok::<(), Infallible>(())
        };
        // SAFETY: `for_each_share` sets every row to zeros at least.
        let Ok(map) = unsafe { Map::written_by(len, fill) };
        map
    }

    /// The values of some maps one after the other.
    #[cfg(feature = "candle")]
    pub(crate) fn joined(maps: &[&[f32]]) -> Self {
        let len = maps.iter().map(|map| map.len()).sum();
        // What to copy, and where to.
        let mut pieces = Vec::new();
        let mut at = 0;
        for piece in maps.iter().flat_map(|map| map.chunks(JOIN_VALUES)) {
            pieces.push((piece, at));
            at += piece.len();
        }
        let fill = |out: &mut SharedMut| {
            parallel_for(pieces.len(), 4 * len, &|task| {
                let (piece, at) = pieces[task];
                // SAFETY: each piece has its own place.
                unsafe { out.fresh(at, piece.len()) }.write_copy_of_slice(piece);
            });
            Ok::<(), Infallible>(())
        };
        // SAFETY: the pieces are all of the values.
        let Ok(map) = unsafe { Map::written_by(len, fill) };
        map
    }

    /// The vector, and where in it the values begin; they end where it does.
    pub fn into_parts(self) -> (Vec<f32>, usize) {
        (self.values, self.start)
    }
}

impl Map {
    /// The same of a map of words.
    #[cfg(feature = "candle")]
    pub fn into_words(self) -> (Vec<u32>, usize) {
        let mut values = std::mem::ManuallyDrop::new(self.values);
        let (pointer, len, capacity) = (values.as_mut_ptr(), values.len(), values.capacity());
        // SAFETY: the vector is given up, and both types have the same size and alignment; any bits are a word.
        let words = unsafe { Vec::from_raw_parts(pointer.cast(), len, capacity) };
        (words, self.start)
    }
}

impl From<Vec<f32>> for Map {
    fn from(values: Vec<f32>) -> Self {
        Map { values, start: 0 }
    }
}

impl Deref for Map {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..]
    }
}

impl AsRef<[f32]> for Map {
    fn as_ref(&self) -> &[f32] {
        self
    }
}

/// Equal values, wherever they begin.
impl<T: AsRef<[f32]> + ?Sized> PartialEq<T> for Map {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_maps_begin_on_a_cache_line() {
        for len in [0, 1, ALIGNED_MAP_FROM - 1, ALIGNED_MAP_FROM, 5001, 100_000] {
            let fill = |out: &mut SharedMut| {
                // SAFETY: nobody else has it, and all of it is written.
                let places = unsafe { out.fresh(0, len) };
                places.fill(std::mem::MaybeUninit::new(7.0));
                Ok::<(), ()>(())
            };
            // SAFETY: `fill` writes everything.
            let map = unsafe { Map::written_by(len, fill) }.unwrap();
            assert!(map.iter().all(|&v| v == 7.0) && map.len() == len, "{len}");
            let aligned = map.as_ptr().align_offset(LINE_BYTES) == 0;
            assert!(aligned || len < ALIGNED_MAP_FROM, "{len}");
        }
    }

    #[test]
    fn the_error_of_what_fills_it_is_handed_on() {
        // SAFETY: it returns an error.
        let map = unsafe { Map::written_by(5000, |_| Err("no")) };
        assert_eq!(map.unwrap_err(), "no");
    }

    #[test]
    fn rows_are_zero_until_written_and_shared_at_multiples_of_their_unit() {
        let layout = RowLayout {
            unit: 4,
            ..RowLayout::dense(23, 3)
        };
        let map = Map::from_rows(layout, 4, usize::MAX, |rows| {
            let (rows, out) = rows.whole();
            assert!(rows.start % 4 == 0 && out.len() == rows.len() * 3);
            // What was never written is zero; what is written stays.
            if rows.start > 0 {
                out[0] = rows.start as f32;
            }
        });
        let starts = map.iter().filter(|&&value| value > 0.0).count();
        assert_eq!((map.len(), starts), (23 * 3, 3));
    }
}
