//! The safe way to write one output on several threads: each row belongs to one task.

use super::share::SharedMut;
use crate::partition::share_of;
use crate::threads::parallel::parallel_for;
use std::ops::Range;

/// Rows of some memory: `count` of them, of `len` values each, which begin `step` values apart.
#[derive(Clone, Copy)]
pub(crate) struct RowLayout {
    pub count: usize,
    pub len: usize,
    pub step: usize,
    /// Shares are cut at multiples of so many rows.
    pub unit: usize,
}

impl RowLayout {
    /// Rows that follow one another without a gap.
    pub fn dense(count: usize, len: usize) -> Self {
        RowLayout {
            count,
            len,
            step: len,
            unit: 1,
        }
    }

    /// Values of all rows.
    ///
    /// # Panics
    /// If there are gaps between them.
    pub fn dense_len(self) -> usize {
        assert_eq!(self.step, self.len, "rows with gaps");
        self.count * self.len
    }
}

/// Calls `task` in parallel with nearly equal shares of the rows, `tasks` of them at most, cut by their number
/// alone; `work` is [`parallel_for`]'s.
///
/// Rows of memory that held nothing yet hold zeros when a task gets them, others what they held.
///
/// # Panics
/// If rows overlap or reach beyond `out`.
pub(crate) fn for_each_share(
    out: &mut SharedMut,
    layout: RowLayout,
    tasks: usize,
    work: usize,
    task: impl Fn(Rows) + Sync,
) {
    let RowLayout {
        count,
        len,
        step,
        unit,
    } = layout;
    if count == 0 || len == 0 {
        return;
    }
    assert!(len <= step, "rows overlap");
    let (out, tasks) = (&*out, tasks.clamp(1, count));
    parallel_for(tasks, work, &|index| {
        task(Rows {
            out,
            layout,
            left: share_of(count, unit, index, tasks),
        });
    });
}

/// Some rows that one task has to itself: each with its number.
pub(crate) struct Rows<'a> {
    out: &'a SharedMut<'a>,
    layout: RowLayout,
    left: Range<usize>,
}

impl<'a> Rows<'a> {
    /// All of them as one, and which rows they are.
    ///
    /// # Panics
    /// If there are gaps between them.
    pub fn whole(self) -> (Range<usize>, &'a mut [f32]) {
        let rows = self.left.clone();
        let len = self.layout.len;
        assert_eq!(self.layout.step, len, "rows with gaps");
        (
            rows.clone(),
            self.values(rows.start * len, rows.len() * len),
        )
    }

    /// Values of rows that have not been given away.
    fn values(&self, start: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: `for_each_share` has borrowed the memory for itself alone. Its shares do not overlap, nor do rows,
        // and each is given away once; so nobody else has these places. They are read only after they were written:
        // here, or before.
        unsafe {
            if !self.out.holds_values() {
                self.out
                    .fresh(start, len)
                    .fill(std::mem::MaybeUninit::new(0.0));
            }
            self.out.slice(start, len)
        }
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = (usize, &'a mut [f32]);

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.left.next()?;
        let RowLayout { len, step, .. } = self.layout;
        Some((row, self.values(row * step, len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::map::Map;

    const GAPS: RowLayout = RowLayout {
        count: 23,
        len: 3,
        step: 5,
        unit: 4,
    };

    #[test]
    fn every_row_is_given_to_one_task_and_nothing_between_them() {
        for tasks in [0, 1, 2, 7, 100] {
            let mut values = vec![1.0; GAPS.count * GAPS.step];
            let mut out = SharedMut::new(&mut values);
            for_each_share(&mut out, GAPS, tasks, usize::MAX, |rows| {
                for (row, out) in rows {
                    out.iter_mut().for_each(|value| *value += row as f32);
                }
            });
            for (at, value) in values.into_iter().enumerate() {
                let (row, column) = (at / GAPS.step, at % GAPS.step);
                let expected = if column < GAPS.len { row } else { 0 };
                assert_eq!(value, 1.0 + expected as f32, "{tasks} tasks, {at}");
            }
        }
    }

    #[test]
    fn shares_are_cut_at_multiples_of_their_unit() {
        let layout = RowLayout {
            step: GAPS.len,
            ..GAPS
        };
        let map = Map::from_rows(layout, 4, usize::MAX, |rows| {
            let (rows, out) = rows.whole();
            assert!(rows.start % GAPS.unit == 0 && out.len() == rows.len() * GAPS.len);
            // What was never written is zero; what is written stays.
            if rows.start > 0 {
                out[0] = rows.start as f32;
            }
        });
        let starts = map.iter().filter(|&&value| value > 0.0).count();
        assert_eq!((map.len(), starts), (GAPS.count * GAPS.len, 3));
    }

    #[test]
    fn rows_that_overlap_or_reach_too_far_are_refused() {
        let refused = |layout: RowLayout, len: usize| {
            let mut values = vec![0.0; len];
            let run = || {
                for_each_share(&mut SharedMut::new(&mut values), layout, 2, 1, |rows| {
                    rows.for_each(|(_, out)| out.fill(1.0));
                })
            };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
        };
        let enough = 22 * GAPS.step + GAPS.len;
        assert!(!refused(GAPS, enough));
        assert!(refused(GAPS, enough - 1));
        assert!(refused(RowLayout { step: 2, ..GAPS }, enough));
    }
}
