//! A direct convolution's tasks and what each does.

use super::im2col::{fill_framed, frame, framed, gather};
use super::tasks::Task;
use super::weights::{Direct, Taps};
use crate::arch::checked::offsets::OffsetTable;
use crate::arch::checked::tile::{OutputPrefetch, Panel};
use crate::conv::geometry::Geometry;
use crate::conv::operands::{Source, TileEpilogue};
use crate::conv::sums::{by_parts, with_columns};
use crate::conv::table::{TABLE, new_loop};
use crate::memory::buffer::with_scratch;
use crate::memory::share::SharedMut;
use crate::threads::parallel::parallel_for_with_next;

/// What the tasks read.
#[derive(Clone, Copy)]
enum Input<'a> {
    Source(Source<'a>),
    /// A map in a frame of zeros.
    Framed(&'a [f32]),
}

impl Direct {
    /// Writes all channels of all pixels.
    pub fn run(
        &self,
        g: &Geometry,
        source: Source,
        out: &SharedMut,
        epilogue: TileEpilogue,
        sums: Option<&mut [f32]>,
    ) {
        match source {
            Source::Map(x) if self.taps == Taps::Rows => {
                let framed = framed(g);
                with_scratch(framed.len(), |values| {
                    frame(g, x, framed, values);
                    self.run_tasks(g, Input::Framed(values), out, epilogue, sums);
                });
            }
            _ => self.run_tasks(g, Input::Source(source), out, epilogue, sums),
        }
    }

    fn run_tasks(
        &self,
        g: &Geometry,
        input: Input,
        out: &SharedMut,
        epilogue: TileEpilogue,
        sums: Option<&mut [f32]>,
    ) {
        let weighted = matches!(input, Input::Source(Source::WeightedSplits(_)));
        let made = weighted || self.taps == Taps::Gathered;
        let tasks = self.cut(g).tasks(g, made, sums.is_some());
        let run = Run {
            direct: self,
            g,
            id: new_loop(),
            input,
            out,
            epilogue,
            partial_sums: None,
        };
        by_parts(sums, &tasks, g.output.c, |partial_sums| {
            Run {
                partial_sums,
                ..run
            }
            .all(&tasks);
        });
    }
}

/// One application.
struct Run<'a> {
    direct: &'a Direct,
    g: &'a Geometry,
    /// Which loop it is.
    id: usize,
    input: Input<'a>,
    out: &'a SharedMut<'a>,
    epilogue: TileEpilogue<'a>,
    /// `[part][out_channels]`, if sums are wanted.
    partial_sums: Option<&'a SharedMut<'a>>,
}

impl Run<'_> {
    fn all(&self, tasks: &[Task]) {
        let work = self.direct.work(self.g);
        parallel_for_with_next(tasks.len(), work, &|index, next| {
            let next_weights = next.map_or(&[][..], |next| {
                let Task { group, panels, .. } = &tasks[next];
                let panels = panels.start..panels.start + 1;
                self.direct.panels.weights(*group, panels)
            });
            self.task(&tasks[index], next_weights);
        });
    }

    /// One task; its thread will read `next_weights` after it.
    fn task(&self, task: &Task, next_weights: &[f32]) {
        let (g, k) = (self.g, self.direct.panels.k);
        let mut table = TABLE.take();
        let mut from_rows = |fill: &dyn Fn(&mut [f32])| {
            with_scratch(task.pixels.len() * k, |rows| {
                fill(rows);
                table.of(self.id, &task.pixels, |offsets| {
                    offsets.fill_rows(task.pixels.len(), 0, k)
                });
                self.panels((rows, 0), &table.offsets, task, next_weights);
            });
        };
        match self.input {
            Input::Source(Source::Map(x)) if self.direct.taps == Taps::Gathered => {
                from_rows(&|rows| gather(g, x, task, rows))
            }
            Input::Source(Source::WeightedSplits(splits)) => {
                from_rows(&|rows| splits.sum_pixels(g.isa, task.pixels.clone(), rows))
            }
            Input::Framed(x) => {
                table.of(self.id, &task.pixels, |offsets| {
                    fill_framed(offsets, g, task.pixels.clone())
                });
                self.panels((x, 0), &table.offsets, task, next_weights);
            }
            Input::Source(Source::Words(_)) => unreachable!("words go to `DotConv` alone"),
            Input::Source(Source::Map(x)) => {
                table.of(self.id, &task.pixels, |offsets| {
                    g.fill_table(offsets, task.pixels.clone())
                });
                let start = task.group * k;
                self.panels((x, start), &table.offsets, task, next_weights);
            }
        }
        TABLE.replace(table);
    }

    /// Multiplies the pixels of `table` with the task's panels, those of one shape in one call.
    fn panels(
        &self,
        (x, x_start): (&[f32], usize),
        table: &OffsetTable,
        task: &Task,
        next_weights: &[f32],
    ) {
        let (g, packed) = (self.g, &self.direct.panels);
        let mut left = task.panels.clone();
        while !left.is_empty() {
            let panels = packed.of_one_shape(left.clone());
            left.start = panels.end;
            let shape = packed.list[panels.start];
            let channel = task.group * g.spec.group_out() + shape.first;
            let width = shape.registers * g.isa.kernels().lanes;
            let panel = Panel {
                batches: panels.len(),
                x_batch: 0,
                out_batch: if g.out_plane > 0 { g.out_plane } else { width },
                x,
                x_start,
                table,
                weights: packed.weights(task.group, panels.clone()),
                next_weights: match left.is_empty() {
                    true => next_weights,
                    false => packed.weights(task.group, left.start..left.start + 1),
                },
                k: packed.k,
                k_block: packed.k_block,
                registers: shape.registers,
                cols: shape.cols,
                bias: Some(packed.bias(task.group, panels.clone())),
                out: self.out,
                out_start: task.pixels.start * g.out_pixel + g.out_at(channel),
                row_stride: g.out_pixel,
                residual: self.epilogue.residual,
                accumulate: self.epilogue.accumulate,
                relu: self.epilogue.relu,
                prefetch_output: OutputPrefetch::default(),
            };
            let place = (task.part * g.output.c + channel, shape.cols);
            let columns = (panels.len(), width);
            // SAFETY: tasks differ in pixels or in channels, so no two write the same values; each task's part of the sums is
            // its own too.
            unsafe {
                with_columns(self.partial_sums, place, columns, |sums| {
                    panel.run(g.isa, sums)
                });
            }
        }
    }
}
