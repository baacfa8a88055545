//! The products of V and the weights, and their way back into pixels.

use super::run::Run;
use crate::arch::checked::dot_tile::DotPanel;
use crate::arch::checked::offsets::OffsetTable;
use crate::arch::checked::tile::{OutputPrefetch, Panel};
use crate::arch::checked::winograd::OutputTile;
use crate::conv::panel::{MAX_WIDTH, PanelShape};
use crate::memory::buffer::{with_scratch, words};
use crate::memory::share::SharedMut;
use crate::tuning::{MAX_BLOCK, UNROLL, WINOGRAD_TILE_GAP};
use std::ops::Range;

impl Run<'_> {
    /// Multiplies V with some panels and transforms the products back; `sums` gets, per image
    /// and panel, the first channel and the column sums of the tiles.
    pub fn multiply(
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
            let m_tile = products * width + WINOGRAD_TILE_GAP;
            with_scratch(tiles.len() * m_tile, |m| {
                for (i, band) in packed.bands.iter().enumerate() {
                    let k = band.terms * packed.k;
                    let (_, weights) = weights.split_at(band.before * packed.k * width);
                    let (weights, after) = weights.split_at(band.count * k * width);
                    let prefetch_output = OutputPrefetch {
                        out: (i == 0).then_some(self.out),
                        rows: &rows,
                        pixel_stride: self.tiling.step * self.g.out_pixel,
                        offset: group * self.g.spec.group_out() + shape.first,
                        cols: shape.cols,
                    };
                    let out = &SharedMut::new(m);
                    if let Some(element) = packed.element {
                        let panel = DotPanel {
                            element,
                            batches: band.count,
                            x_batch: self.row(),
                            out_batch: width,
                            x: words(v),
                            x_start: 0,
                            table: &table,
                            padding: &packed.padding,
                            weights: words(weights),
                            next_weights: words(next),
                            k,
                            registers: shape.registers,
                            cols: width,
                            integers: None,
                            bias: None,
                            out,
                            out_start: 0,
                            row_stride: m_tile,
                            residual: None,
                            accumulate: false,
                            relu: false,
                            rounding: None,
                            prefetch_output,
                        };
                        // SAFETY: m is this task's own.
                        unsafe { panel.run(self.g.isa, None) };
                        continue;
                    }
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
                        k_block: k.div_ceil(k.div_ceil(MAX_BLOCK)).next_multiple_of(UNROLL),
                        registers: shape.registers,
                        cols: width,
                        bias: None,
                        out,
                        out_start: band.first * width,
                        row_stride: m_tile,
                        residual: None,
                        accumulate: false,
                        relu: false,
                        prefetch_output,
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
        let mut columns = [0.0; MAX_WIDTH];
        let m = m.chunks_exact(self.packed.form.products() * width + WINOGRAD_TILE_GAP);
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
                residual: self.epilogue.residual,
                relu: self.epilogue.relu,
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
