//! How a direct convolution is divided among tasks.

use crate::conv::geometry::Geometry;
use crate::partition::{share_of, tapered};
use crate::tuning::{
    CHUNK_VALUES, DIRECT_TASKS, HALVE_PIXELS_FROM, SHORTEST_CHUNK, SHORTEST_TASK_MACS,
    SPLIT_PIXELS_FROM,
};
use std::ops::Range;

/// One task: some pixels by some panels of one group.
pub(in crate::conv) struct Task {
    pub pixels: Range<usize>,
    pub group: usize,
    pub panels: Range<usize>,
    /// Which row of partial sums it adds to.
    pub part: usize,
}

/// What the division of a convolution depends on, besides its shape.
pub(in crate::conv) struct Cut {
    /// Panels of a group.
    pub panels: usize,
    /// Values, or words, of k that are read in one go.
    pub k_block: usize,
    /// Multiply-adds of an application, and what reading its weights costs.
    pub work: usize,
}

impl Cut {
    /// The division depends on the shape alone, never on the number of threads: so do the sums.
    ///
    /// Tasks are short, for at the end of a loop threads wait for the last one; and a thread that takes
    /// neighbouring ones, as they do, has what they read in its cache.
    ///
    /// `made`: the rows that a task reads are made for it. `sums`: each task's pixels lie in one image.
    pub fn tasks(&self, g: &Geometry, made: bool, sums: bool) -> Vec<Task> {
        let images = if sums { g.output.n } else { 1 };
        let pixels = g.output.pixels() / images;
        if pixels * images < SPLIT_PIXELS_FROM {
            return self.tasks_by_panels(g, images, pixels);
        }
        let longest = (CHUNK_VALUES / self.k_block.min(320)).max(96);
        let longest = (pixels * images).div_ceil(32).clamp(96, longest);
        let chunks = tapered(pixels, 6, SHORTEST_CHUNK, longest);
        let panels = self.panels;
        // Rows that are made for a task are not worth making twice.
        let most = if made { 1 } else { panels };
        let pixel_work = g.macs() / (pixels * images * g.spec.groups);
        let mut tasks = Vec::with_capacity(images * chunks.len() * g.spec.groups + DIRECT_TASKS);
        for (part, group) in (0..images * chunks.len())
            .flat_map(|part| (0..g.spec.groups).map(move |group| (part, group)))
        {
            let chunk = &chunks[part % chunks.len()];
            let first = part / chunks.len() * pixels;
            let mut ranges = (chunk.len() * DIRECT_TASKS).div_ceil(pixels * images);
            if chunk.len() <= SHORTEST_CHUNK {
                ranges = ranges.max(chunk.len() * pixel_work / SHORTEST_TASK_MACS);
            }
            let ranges = ranges.min(most);
            tasks.extend((0..ranges).map(|range| Task {
                pixels: first + chunk.start..first + chunk.end,
                group,
                panels: share_of(panels, 1, range, ranges),
                part,
            }));
        }
        tasks
    }

    /// Of few pixels a task takes all of an image or half of them.
    fn tasks_by_panels(&self, g: &Geometry, images: usize, pixels: usize) -> Vec<Task> {
        let panels = self.panels;
        // A thread then reads the pixels that it wrote in the layer before.
        let halves = if pixels >= HALVE_PIXELS_FROM { 2 } else { 1 };
        let units = images * halves * g.spec.groups * panels;
        let mut tasks = Vec::with_capacity(2 * DIRECT_TASKS);
        let shortest = (units * SHORTEST_TASK_MACS).div_ceil(self.work.max(1));
        let longest = units.div_ceil(DIRECT_TASKS).max(shortest);
        for mut units in tapered(units, 1, shortest, longest) {
            while !units.is_empty() {
                let (unit, first) = (units.start / panels, units.start % panels);
                let next = units.end.min((unit + 1) * panels);
                let end = first + next - units.start;
                let (part, group) = (unit / g.spec.groups, unit % g.spec.groups);
                let (image, half) = (part / halves, part % halves);
                let share = share_of(pixels, 6, half, halves);
                tasks.push(Task {
                    pixels: image * pixels + share.start..image * pixels + share.end,
                    group,
                    // From the ends towards the middle, so that both halves' threads read the same
                    // weights at the same time.
                    panels: match half {
                        0 => first..end,
                        _ => panels - end..panels - first,
                    },
                    part,
                });
                units.start = next;
            }
        }
        tasks
    }
}
