//! Cutting work into the shares of tasks: by its size alone, never by the number of threads.

use std::ops::Range;

/// The `index`-th of `parts` nearly equal shares of `0..total`, cut at multiples of `unit`.
pub(crate) fn share_of(total: usize, unit: usize, index: usize, parts: usize) -> Range<usize> {
    let units = total.div_ceil(unit);
    let cut = |i: usize| (units * i / parts * unit).min(total);
    cut(index)..cut(index + 1)
}

/// `0..total` cut into chunks of multiples of `unit`, from `longest` at both ends down to `shortest`
/// in the middle, where the threads that work from the two ends meet: they then end together.
pub(crate) fn tapered(
    total: usize,
    unit: usize,
    shortest: usize,
    longest: usize,
) -> Vec<Range<usize>> {
    let half = |mut left: usize| {
        let mut lengths = Vec::new();
        while left > 0 {
            let length = (left / 2).clamp(shortest, longest).next_multiple_of(unit);
            // A rest of less than a unit is not worth a task.
            let length = if left < length + unit { left } else { length };
            lengths.push(length);
            left -= length;
        }
        lengths
    };
    let first = (total / 2).next_multiple_of(unit).min(total);
    let mut lengths = half(first);
    lengths.extend(half(total - first).into_iter().rev());
    let mut end = 0;
    let cut = |length| {
        end += length;
        end - length..end
    };
    lengths.into_iter().map(cut).collect()
}
