//! Winograd convolution of 3x3 kernels: transform, multiply, transform back.
//!
//! Pixels `dilation` apart know nothing of those between them: with a dilation, tiles take every
//! `dilation`-th pixel, and with a stride of the dilation's size, outputs are neighbours again.
//!
//! With a stride of 2, taps meet pixels of one parity or the other, and products are sums over up to
//! four terms.
//!
//! U is `[group][panel][product][term][k][width]`, V `[tile][product][term][k]`, M of one panel
//! `[tile][product][width]`. Rows of V and the tiles of both are a little longer than that: the 64
//! products of F(6x6) would put the same product of all tiles into the same few sets of a cache.

use super::panel::{BLOCK_VALUES, PanelShape, panels};
use super::{Finish, Geometry, add_parts, share_of, tapered};
use crate::arch::block::{OffsetTable, Panel, Upcoming};
use crate::arch::form::{Band, Form};
use crate::arch::transform::{InputTile, MAX_PIXELS, OutputTile, TilePixels};
use crate::arch::winograd_weights::Weights;
use crate::arch::{Isa, UNROLL};
use crate::buffer::{Aligned, with_scratch};
use crate::shape::ConvSpec;
use crate::share::SharedMut;
use crate::threads::parallel_for;
use std::ops::Range;

/// Values of V that a task of its own may fill: about a third of a 512 KB L2 cache.
const LOCAL_VALUES: usize = 44 * 1024;
/// Up to this many tiles the whole V is made first and tasks divide the panels: chunks of fewer
/// tiles would stream U again and again.
const SHARED_TILES: usize = 64;
/// From so many groups on each one's tiles are a task, whose V stays in a cache; all of V would not.
const MANY_GROUPS: usize = 16;
/// Values of U (16 MB) that no cache keeps from one chunk to the next: then four times as many tiles
/// are worth a whole V.
const LARGE_U: usize = 4 * 1024 * 1024;

/// A cache line between one tile and the next.
const TILE_GAP: usize = 16;

/// What a value of V costs to make, in multiply-adds.
const TRANSFORM_WORK: usize = 10;

/// Weights transformed and packed for one form.
pub(crate) struct Winograd {
    form: Form,
    bands: Vec<Band>,
    list: Vec<PanelShape>,
    /// Input channels of a group.
    channels: usize,
    /// The same, rounded up to whole registers where terms follow one another.
    k: usize,
    lanes: usize,
    /// Padded output channels of a group.
    width: usize,
    u: Aligned,
    /// `[group][width]`
    bias: Aligned,
}

/// Where tiles lie: one for each of `down` by each of `across`.
struct Tiling {
    form: Form,
    /// From one row or column of a tile's output to the next.
    step: usize,
    down: Vec<Span>,
    across: Vec<Span>,
}

/// The output rows (or columns) of a tile.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    /// How many lie inside the output.
    inside: usize,
}

impl Winograd {
    pub fn pack(
        isa: Isa,
        spec: &ConvSpec,
        form: Form,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Self {
        let lanes = isa.kernels().lanes;
        let list = panels(spec.group_out(), lanes);
        let width = list.iter().map(|p| p.registers).sum::<usize>() * lanes;
        let channels = spec.group_in();
        let k = match form.strided() {
            true => channels.next_multiple_of(lanes),
            false => channels,
        };
        let mut packed = Winograd {
            form,
            bands: form.bands(),
            list,
            channels,
            k,
            lanes,
            width,
            u: Aligned::zeros(spec.groups * width * k * form.terms()),
            bias: Aligned::zeros(spec.groups * width),
        };
        for group in 0..spec.groups {
            for index in 0..packed.list.len() {
                packed.pack_panel(isa, spec, group, index, weight, bias);
            }
        }
        packed
    }

    fn pack_panel(
        &mut self,
        isa: Isa,
        spec: &ConvSpec,
        group: usize,
        index: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) {
        let panel = self.list[index];
        let width = panel.registers * self.lanes;
        let first = group * spec.group_out() + panel.first;
        let range = self.range(group, index);
        let channels = &weight[first * self.channels * 9..][..panel.cols * self.channels * 9];
        Weights {
            form: self.form,
            channels,
            inputs: self.channels,
            k: self.k,
            u: &mut self.u.as_mut_slice()[range],
            width,
        }
        .transform(isa);
        if let Some(bias) = bias {
            let at = group * self.width + panel.first;
            self.bias.as_mut_slice()[at..at + panel.cols]
                .copy_from_slice(&bias[first..first + panel.cols]);
        }
    }

    fn range(&self, group: usize, panel: usize) -> Range<usize> {
        let rows = self.k * self.form.terms();
        let start = (group * self.width + self.list[panel].first) * rows;
        start..start + self.list[panel].registers * self.lanes * rows
    }

    pub fn bytes(&self) -> usize {
        (self.u.len() + self.bias.len()) * size_of::<f32>()
    }

    pub fn run(
        &self,
        g: &Geometry,
        x: &[f32],
        out: &SharedMut,
        finish: Finish,
        sums: Option<&mut [f32]>,
    ) {
        let tiling = Tiling::new(self.form, g);
        let run = Run {
            packed: self,
            g,
            tiling,
            x,
            out,
            finish,
        };
        let shared_tiles = if self.u.len() > LARGE_U {
            4 * SHARED_TILES
        } else {
            SHARED_TILES
        };
        if run.tiles() <= shared_tiles && g.spec.groups < MANY_GROUPS {
            run.shared(sums);
        } else {
            run.local(sums);
        }
    }
}

/// One application.
struct Run<'a> {
    packed: &'a Winograd,
    g: &'a Geometry,
    tiling: Tiling,
    x: &'a [f32],
    out: &'a SharedMut<'a>,
    finish: Finish<'a>,
}

impl Run<'_> {
    fn tiles(&self) -> usize {
        self.g.output.n * self.tiling.per_image()
    }

    /// Length of a tile's rows of V.
    fn tile_rows(&self) -> usize {
        self.packed.form.products() * self.row() + TILE_GAP
    }

    /// Length of a row of V.
    fn row(&self) -> usize {
        let terms = self.packed.bands.iter().map(|band| band.terms).max();
        (terms.unwrap_or(1) * self.packed.k).next_multiple_of(16) + 16
    }

    /// Each task makes its own V for some tiles of a group and multiplies it with all panels.
    fn local(&self, sums: Option<&mut [f32]>) {
        let (images, groups) = (self.g.output.n, self.g.spec.groups);
        let units = if sums.is_some() { images } else { 1 };
        let tiles = self.tiles() / units;
        let most = LOCAL_VALUES / (self.packed.form.products() * self.row());
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
                self.fill_v(group, range.clone(), range.clone(), &SharedMut::new(v), 0);
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
            let chunks = tiles.min(16usize.div_ceil(groups));
            let shared = SharedMut::new(v);
            parallel_for(
                groups * chunks,
                v_group * groups * TRANSFORM_WORK,
                &|index| {
                    let (group, chunk) = (index % groups, index / groups);
                    let share = share_of(tiles, 1, chunk, chunks);
                    self.fill_v(group, 0..tiles, share, &shared, group * v_group);
                },
            );
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

    /// Transforms `some` of the tiles `all` of a group into V, which holds `all` from `start` on.
    fn fill_v(
        &self,
        group: usize,
        all: Range<usize>,
        some: Range<usize>,
        v: &SharedMut,
        start: usize,
    ) {
        for tile in some {
            let input = InputTile {
                form: self.packed.form,
                x: self.x,
                pixels: self
                    .tiling
                    .pixels(self.g, tile, group * self.packed.channels),
                channels: self.packed.channels,
            };
            let at = start + (tile - all.start) * self.tile_rows();
            // SAFETY: the tile's rows of V are written by nobody else.
            unsafe { input.transform(self.g.isa, v, at, self.row()) };
        }
    }

    /// Multiplies V with some panels and transforms the products back; `sums` gets, per image
    /// and panel, the first channel and the column sums of the tiles.
    fn multiply(
        &self,
        group: usize,
        panels: Range<usize>,
        tiles: Range<usize>,
        v: &[f32],
        mut sums: impl FnMut(usize, usize, &[f32]),
        wants_sums: bool,
    ) {
        let packed = self.packed;
        let products = packed.form.products();
        let mut table = OffsetTable::default();
        table.fill_rows(tiles.len(), 0, self.tile_rows());
        let rows = self.rows(tiles.clone());
        for index in panels.clone() {
            let shape = packed.list[index];
            let width = shape.registers * packed.lanes;
            let next = if index + 1 < panels.end {
                &packed.u.as_slice()[packed.range(group, index + 1)]
            } else {
                &[]
            };
            let weights = &packed.u.as_slice()[packed.range(group, index)];
            let m_tile = products * width + TILE_GAP;
            with_scratch(tiles.len() * m_tile, |m| {
                for (i, band) in packed.bands.iter().enumerate() {
                    let k = band.terms * packed.k;
                    let (_, weights) = weights.split_at(band.before * packed.k * width);
                    let (weights, after) = weights.split_at(band.count * k * width);
                    let upcoming = Upcoming {
                        out: (i == 0).then_some(self.out),
                        rows: &rows,
                        pixel_stride: self.tiling.step * self.g.out_pixel,
                        offset: group * self.g.spec.group_out() + shape.first,
                        cols: shape.cols,
                    };
                    let panel = Panel {
                        batches: band.count,
                        x_batch: self.row(),
                        out_batch: width,
                        x: v,
                        x_start: band.first * self.row(),
                        table: &table,
                        weights,
                        next_weights: if after.is_empty() { next } else { after },
                        k,
                        k_block: k
                            .div_ceil(k.div_ceil(BLOCK_VALUES))
                            .next_multiple_of(UNROLL),
                        registers: shape.registers,
                        cols: width,
                        bias: None,
                        out: &SharedMut::new(m),
                        out_start: band.first * width,
                        row_stride: m_tile,
                        residual: None,
                        onto: false,
                        relu: false,
                        upcoming,
                    };
                    // SAFETY: m is this task's own.
                    unsafe { panel.run(self.g.isa, None) };
                }
                self.transform_back(group, shape, tiles.clone(), m, &mut sums, wants_sums);
            });
        }
    }

    /// The rows of pixels that some tiles cover: where they start in the output, and how long they are.
    fn rows(&self, tiles: Range<usize>) -> Vec<(usize, usize)> {
        let (output, step) = (self.g.output, self.tiling.step);
        let mut rows = Vec::with_capacity(tiles.len() * self.packed.form.outputs());
        for tile in tiles {
            let (image, down, across) = self.tiling.place(tile);
            let first = (image * output.h + down.first) * output.w + across.first;
            let starts = (0..down.inside).map(|y| (first + y * step * output.w) * self.g.out_pixel);
            rows.extend(starts.map(|start| (start, across.inside)));
        }
        rows
    }

    fn transform_back(
        &self,
        group: usize,
        shape: PanelShape,
        tiles: Range<usize>,
        m: &[f32],
        sums: &mut impl FnMut(usize, usize, &[f32]),
        wants_sums: bool,
    ) {
        let g = self.g;
        let (per_image, step) = (self.tiling.per_image(), self.tiling.step);
        let width = shape.registers * self.packed.lanes;
        let bias = group * self.packed.width + shape.first;
        let mut columns = [0.0; super::MAX_WIDTH];
        let m = m.chunks_exact(self.packed.form.products() * width + TILE_GAP);
        for (tile, m) in tiles.clone().zip(m) {
            let (image, down, across) = self.tiling.place(tile);
            let pixel = (image * g.output.h + down.first) * g.output.w + across.first;
            let output = OutputTile {
                form: self.packed.form,
                m,
                registers: shape.registers,
                cols: shape.cols,
                bias: &self.packed.bias.as_slice()[bias..bias + width],
                start: pixel * g.out_pixel + group * g.spec.group_out() + shape.first,
                row_stride: step * g.output.w * g.out_pixel,
                pixel_stride: step * g.out_pixel,
                rows: down.inside,
                columns: across.inside,
                residual: self.finish.residual,
                relu: self.finish.relu,
            };
            // SAFETY: no other task has this tile and panel.
            unsafe { output.transform(g.isa, self.out, wants_sums.then_some(&mut columns[..])) };
            if wants_sums && (tile + 1 == tiles.end || (tile + 1) % per_image == 0) {
                sums(image, shape.first, &columns[..shape.cols]);
                columns.fill(0.0);
            }
        }
    }
}

impl Tiling {
    fn new(form: Form, g: &Geometry) -> Self {
        let step = (g.spec.dilation / g.spec.stride).max(1);
        let spans = |side| {
            (0..step)
                .flat_map(|phase| (phase..side).step_by(step * form.outputs()))
                .map(|first| Span {
                    first,
                    inside: form.outputs().min((side - first).div_ceil(step)),
                })
                .collect()
        };
        Tiling {
            form,
            step,
            down: spans(g.output.h),
            across: spans(g.output.w),
        }
    }

    fn per_image(&self) -> usize {
        self.down.len() * self.across.len()
    }

    /// Image, rows and columns of a tile.
    fn place(&self, tile: usize) -> (usize, Span, Span) {
        let (row, tx) = (tile / self.across.len(), tile % self.across.len());
        let (image, ty) = (row / self.down.len(), row % self.down.len());
        (image, self.down[ty], self.across[tx])
    }

    /// A tile's input pixels from channel `first` on.
    fn pixels(&self, g: &Geometry, tile: usize, first: usize) -> TilePixels {
        let (image, down, across) = self.place(tile);
        let inputs = self.form.inputs();
        let (h, w, c) = (g.input.h, g.input.w, g.x_pixel);
        // Rows and columns above or left of the image wrap to huge numbers.
        let place = |span: Span, i: usize| {
            (span.first * g.spec.stride + i * g.spec.dilation).wrapping_sub(g.spec.padding)
        };
        let (top, left) = (place(down, 0), place(across, 0));
        let step = (inputs - 1) * g.spec.dilation;
        if top < h && top + step < h && left < w && left + step < w {
            return TilePixels::Inside {
                first: ((image * h + top) * w + left) * c + first,
                row_stride: g.spec.dilation * w * c,
                pixel_stride: g.spec.dilation * c,
            };
        }
        let mut offsets = [-1; MAX_PIXELS];
        for (i, row) in offsets.chunks_exact_mut(inputs).enumerate().take(inputs) {
            let y = place(down, i);
            for (j, offset) in row.iter_mut().enumerate() {
                let x = place(across, j);
                if y < h && x < w {
                    *offset = (((image * h + y) * w + x) * c + first) as isize;
                }
            }
        }
        TilePixels::Edge(offsets)
    }
}
