//! An application of Winograd's algorithm: whose V is made when, and who multiplies it.

use super::tiling::Tiling;
use super::weights::Winograd;
use crate::arch::checked::winograd::InputTile;
use crate::conv::geometry::Geometry;
use crate::conv::operands::TileEpilogue;
use crate::conv::sums::add_parts;
use crate::memory::buffer::{with_scratch, words_mut};
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use crate::partition::{share_of, tapered};
use crate::threads::parallel::parallel_for;
use crate::tuning::{
    LINE, WINOGRAD_LARGE_U, WINOGRAD_MANY_GROUPS, WINOGRAD_SHARED_TILES, WINOGRAD_TILE_GAP,
    WINOGRAD_TRANSFORM_MACS, WINOGRAD_V_VALUES,
};

impl Winograd {
    /// Writes all channels of all pixels.
    pub fn run(
        &self,
        g: &Geometry,
        x: &[f32],
        out: &SharedMut,
        epilogue: TileEpilogue,
        sums: Option<&mut [f32]>,
    ) {
        let tiling = Tiling::new(self.form, g);
        let run = Run {
            packed: self,
            g,
            tiling,
            x,
            out,
            epilogue,
        };
        let shared_tiles = if self.u.len() > WINOGRAD_LARGE_U {
            4 * WINOGRAD_SHARED_TILES
        } else {
            WINOGRAD_SHARED_TILES
        };
        if run.tiles() <= shared_tiles && g.spec.groups < WINOGRAD_MANY_GROUPS {
            run.shared(sums);
        } else {
            run.local(sums);
        }
    }
}

/// One application.
pub(super) struct Run<'a> {
    pub packed: &'a Winograd,
    pub g: &'a Geometry,
    pub tiling: Tiling,
    x: &'a [f32],
    pub out: &'a SharedMut<'a>,
    pub epilogue: TileEpilogue<'a>,
}

impl Run<'_> {
    fn tiles(&self) -> usize {
        self.g.output.n * self.tiling.per_image()
    }

    /// Length of a tile's rows of V.
    pub fn tile_rows(&self) -> usize {
        self.packed.form.products() * self.row() + WINOGRAD_TILE_GAP
    }

    /// Length of a row of V.
    pub fn row(&self) -> usize {
        let terms = self.packed.bands.iter().map(|band| band.terms).max();
        (terms.unwrap_or(1) * self.packed.k).next_multiple_of(LINE) + LINE
    }

    /// Each task makes its own V for some tiles of a group and multiplies it with all panels.
    fn local(&self, sums: Option<&mut [f32]>) {
        let (images, groups) = (self.g.output.n, self.g.spec.groups);
        let units = if sums.is_some() { images } else { 1 };
        let tiles = self.tiles() / units;
        let most = WINOGRAD_V_VALUES / (self.packed.form.products() * self.row());
        let chunk = most.min(tiles.div_ceil(8)).max(24).next_multiple_of(6);
        let shares = tapered(tiles, 6, 6, chunk);
        let chunks = shares.len();
        let channels = self.g.output.c;
        let task = |index: usize, partial: Option<&SharedMut>| {
            let (part, group) = (index / groups, index % groups);
            let share = &shares[part % chunks];
            let first = part / chunks * tiles;
            let range = first + share.start..first + share.end;
            let all = 0..self.packed.list.len();
            let v_len = range.len() * self.tile_rows();
            with_scratch(v_len, |v| {
                for (tile, rows) in range.clone().zip(v.chunks_exact_mut(self.tile_rows())) {
                    self.fill_v(group, tile, rows);
                }
                // SAFETY: the part's row of sums is this task's for the channels of its group.
                let mut part = partial.map(|p| unsafe {
                    p.slice(
                        part * channels + group * self.g.spec.group_out(),
                        self.g.spec.group_out(),
                    )
                });
                self.multiply(
                    group,
                    all,
                    range,
                    v,
                    |_, first, columns| {
                        if let Some(part) = &mut part {
                            let part = &mut part[first..first + columns.len()];
                            part.iter_mut()
                                .zip(columns)
                                .for_each(|(sum, value)| *sum += value);
                        }
                    },
                    partial.is_some(),
                );
            });
        };
        let tasks = units * chunks * groups;
        let Some(total) = sums else {
            return parallel_for(tasks, self.g.macs(), &|index| task(index, None));
        };
        with_scratch(units * chunks * channels, |partial| {
            partial.fill(0.0);
            let shared = SharedMut::new(partial);
            parallel_for(tasks, self.g.macs(), &|index| task(index, Some(&shared)));
            add_parts(total, partial, channels, units * chunks);
        });
    }

    /// V of all tiles is made first; then tasks divide the panels, so that U is read once.
    fn shared(&self, sums: Option<&mut [f32]>) {
        let (tiles, groups) = (self.tiles(), self.g.spec.groups);
        let v_group = tiles * self.tile_rows();
        let channels = self.g.output.c;
        let wants_sums = sums.is_some();
        let total = sums.map(SharedMut::new);
        with_scratch(groups * v_group, |v| {
            let tasks = groups * tiles.min(16usize.div_ceil(groups));
            let layout = RowLayout::dense(groups * tiles, self.tile_rows());
            let work = v_group * groups * WINOGRAD_TRANSFORM_MACS;
            for_each_share(&mut SharedMut::new(v), layout, tasks, work, |share| {
                for (index, rows) in share {
                    self.fill_v(index / tiles, index % tiles, rows);
                }
            });
            let panels = self.packed.list.len();
            let ranges = panels.min(64usize.div_ceil(groups));
            let v = &*v;
            parallel_for(groups * ranges, self.g.macs(), &|index| {
                let (group, range) = (index / ranges, index % ranges);
                let range = share_of(panels, 1, range, ranges);
                let v = &v[group * v_group..][..v_group];
                let channel = group * self.g.spec.group_out();
                self.multiply(
                    group,
                    range,
                    0..tiles,
                    v,
                    |image, first, columns| {
                        if let Some(total) = &total {
                            let at = image * channels + channel + first;
                            // SAFETY: these channels are this task's.
                            let sums = unsafe { total.slice(at, columns.len()) };
                            sums.copy_from_slice(columns);
                        }
                    },
                    wants_sums,
                );
            });
        });
    }

    /// Transforms a tile of a group into its rows of V.
    fn fill_v(&self, group: usize, tile: usize, rows: &mut [f32]) {
        let channels = self.packed.channels;
        let input = InputTile {
            form: self.packed.form,
            x: self.x,
            pixels: self.tiling.pixels(self.g, tile, group * channels),
            channels,
        };
        match self.packed.element {
            Some(_) => input.transform_to_bf16(self.g.isa, words_mut(rows), self.row()),
            None => input.transform(self.g.isa, rows, self.row()),
        }
    }
}
