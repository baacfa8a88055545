//! Memory for the maps that the kernels put out.

use crate::buffer::LINE;
use crate::share::SharedMut;
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
/// Shorter maps than this begin where their vector does.
const ALIGNED_FROM: usize = 1024;

impl Map {
    /// A map of `len` values made by `fill`, which must write every one of them.
    ///
    /// # Safety
    /// `fill` writes all `len` values unless it returns an error or panics.
    pub(crate) unsafe fn written_by<E>(
        len: usize,
        fill: impl FnOnce(&SharedMut) -> Result<(), E>,
    ) -> Result<Self, E> {
        let slack = if len < ALIGNED_FROM { 0 } else { LINE - 1 };
        let mut values: Vec<f32> = Vec::with_capacity(len + slack);
        let start = values.as_ptr().align_offset(LINE_BYTES).min(slack);
        // The capacity is there: the vector stays where it is.
        values.resize(start, 0.0);
        fill(&SharedMut::uninit(&mut values.spare_capacity_mut()[..len]))?;
        // SAFETY: the capacity is there, and `fill` has written the values after the first `start`.
        unsafe { values.set_len(start + len) };
        Ok(Map { values, start })
    }

    /// The vector, and where in it the values begin; they end where it does.
    pub fn into_parts(self) -> (Vec<f32>, usize) {
        (self.values, self.start)
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
        for len in [0, 1, ALIGNED_FROM - 1, ALIGNED_FROM, 5001, 100_000] {
            let fill = |out: &SharedMut| {
                // SAFETY: nobody else has it, and all of it is written.
                let places = unsafe { out.fresh(0, len) };
                places.fill(std::mem::MaybeUninit::new(7.0));
                Ok::<(), ()>(())
            };
            // SAFETY: `fill` writes everything.
            let map = unsafe { Map::written_by(len, fill) }.unwrap();
            assert!(map.iter().all(|&v| v == 7.0) && map.len() == len, "{len}");
            let aligned = map.as_ptr().align_offset(LINE_BYTES) == 0;
            assert!(aligned || len < ALIGNED_FROM, "{len}");
        }
    }

    #[test]
    fn the_error_of_what_fills_it_is_handed_on() {
        // SAFETY: it returns an error.
        let map = unsafe { Map::written_by(5000, |_| Err("no")) };
        assert_eq!(map.unwrap_err(), "no");
    }
}
