//! The tasks of a convolution of low precision, and what each does.

use super::frame::Frame;
use super::weights::{DotConv, row_words};
use crate::arch::checked::dot_tile::{DotPanel, round};
use crate::arch::checked::offsets::OffsetTable;
use crate::arch::checked::tile::OutputPrefetch;
use crate::conv::direct::Task;
use crate::conv::geometry::Geometry;
use crate::conv::operands::{Source, TileEpilogue};
use crate::conv::sums::{by_parts, with_columns};
use crate::conv::table::{TABLE, new_loop};
use crate::memory::buffer::{with_scratch, words, words_mut};
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use crate::threads::parallel::parallel_for_with_next;
use crate::tuning::{FRAME_WORDS, SPLIT_PIXELS_FROM};

/// Tasks that round an input.
const ROUND_TASKS: usize = 16;

/// What the tasks read.
#[derive(Clone, Copy)]
enum Input<'a> {
    /// To be rounded by the task.
    Values(Source<'a>),
    /// All of the input, rounded.
    Words(&'a [u32]),
    /// The same in a frame of its padding.
    Framed(&'a [u32]),
}

impl DotConv {
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
            Source::Map(_) | Source::Words(_) if self.reads_frame(g) => {
                let frame = Frame::new(g, self);
                with_scratch(frame.words(g), |values| {
                    frame.fill(g, self, source, values);
                    self.run_tasks(g, Input::Framed(words(values)), out, epilogue, sums);
                });
            }
            Source::Map(x) if !self.rounds_in_tasks(g) => {
                with_scratch(self.pixel_words() * g.input.pixels(), |values| {
                    self.round_all(g, x, values);
                    self.run_tasks(g, Input::Words(words(values)), out, epilogue, sums);
                });
            }
            Source::Words(x) => self.run_tasks(g, Input::Words(x), out, epilogue, sums),
            _ => self.run_tasks(g, Input::Values(source), out, epilogue, sums),
        }
    }

    /// Whether the taps of a row of the kernel are read as one.
    fn reads_frame(&self, g: &Geometry) -> bool {
        let rows = g.spec.kernel > 1 && g.spec.dilation == 1 && self.k <= FRAME_WORDS;
        self.joined || rows
    }

    /// Whether each pixel of the input is read by one task.
    fn rounds_in_tasks(&self, g: &Geometry) -> bool {
        g.spec.kernel == 1 && g.spec.padding == 0 && g.output.pixels() >= SPLIT_PIXELS_FROM
    }

    fn round_all(&self, g: &Geometry, x: &[f32], out: &mut [f32]) {
        let layout = RowLayout::dense(g.input.pixels(), self.pixel_words());
        let work = 2 * g.input.len();
        for_each_share(
            &mut SharedMut::new(out),
            layout,
            ROUND_TASKS,
            work,
            |rows| {
                for (pixel, words) in rows {
                    let pixel = &x[pixel * g.x_pixel..][..g.input.c];
                    let groups = words_mut(words).chunks_exact_mut(self.k);
                    for (words, values) in groups.zip(pixel.chunks_exact(self.channels)) {
                        round(g.isa, self.element, values, self.rounding, words);
                    }
                }
            },
        );
    }

    fn run_tasks(
        &self,
        g: &Geometry,
        input: Input,
        out: &SharedMut,
        epilogue: TileEpilogue,
        sums: Option<&mut [f32]>,
    ) {
        let made = matches!(input, Input::Values(_));
        let tasks = self.cut(g).tasks(g, made, sums.is_some());
        let run = Run {
            conv: self,
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
    conv: &'a DotConv,
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
        let work = self.conv.cut(self.g).work;
        parallel_for_with_next(tasks.len(), work, &|index, next| {
            let next_weights = next.map_or(&[][..], |next| {
                let Task { group, panels, .. } = &tasks[next];
                self.conv.weights(*group, panels.start..panels.start + 1)
            });
            self.task(&tasks[index], next_weights);
        });
    }

    /// One task; its thread will read `next_weights` after it.
    fn task(&self, task: &Task, next_weights: &[u32]) {
        let (g, conv) = (self.g, self.conv);
        let mut table = TABLE.take();
        match self.input {
            Input::Words(x) => {
                let words = Geometry {
                    x_pixel: conv.pixel_words(),
                    x_plane: 0,
                    ..*g
                };
                table.of(self.id, &task.pixels, |offsets| {
                    words.fill_table(offsets, task.pixels.clone())
                });
                self.panels((x, task.group * conv.k), &table.offsets, task, next_weights);
            }
            Input::Framed(x) => {
                let frame = Frame::new(g, conv);
                table.of(self.id, &task.pixels, |offsets| {
                    frame.fill_table(g, offsets, task.pixels.clone())
                });
                let x_start = task.group * frame.group_words(g);
                self.panels((x, x_start), &table.offsets, task, next_weights);
            }
            Input::Values(source) => {
                let row = row_words(conv.k);
                with_scratch(task.pixels.len() * row, |rows| {
                    self.round_pixels(source, task, words_mut(rows).chunks_exact_mut(row));
                    table.of(self.id, &task.pixels, |offsets| {
                        offsets.fill_rows(task.pixels.len(), 0, row)
                    });
                    self.panels((words(rows), 0), &table.offsets, task, next_weights);
                });
            }
        }
        TABLE.replace(table);
    }

    /// Rounds the pixels under a task's, each into a row.
    fn round_pixels<'r>(
        &self,
        source: Source,
        task: &Task,
        rows: impl Iterator<Item = &'r mut [u32]>,
    ) {
        let (g, conv) = (self.g, self.conv);
        let round = |values: &[f32], row: &mut [u32]| {
            round(
                g.isa,
                conv.element,
                values,
                conv.rounding,
                &mut row[..conv.k],
            );
        };
        match source {
            Source::Map(x) => {
                for (row, pixel) in rows.zip(task.pixels.clone()) {
                    let (image, y, x_at) = g.window(pixel);
                    let pixel = (image * g.input.h + y as usize) * g.input.w + x_at as usize;
                    let at = pixel * g.x_pixel + task.group * conv.channels;
                    round(&x[at..at + conv.channels], row);
                }
            }
            // They are rounded already.
            Source::Words(_) => {}
            Source::WeightedSplits(splits) => {
                with_scratch(task.pixels.len() * conv.channels, |sums| {
                    splits.sum_pixels(g.isa, task.pixels.clone(), sums);
                    for (row, values) in rows.zip(sums.chunks_exact(conv.channels)) {
                        round(values, row);
                    }
                });
            }
        }
    }

    /// Multiplies the pixels of `table` with the task's panels, those of one shape in one call.
    fn panels(
        &self,
        (x, x_start): (&[u32], usize),
        table: &OffsetTable,
        task: &Task,
        next_weights: &[u32],
    ) {
        let (g, packed) = (self.g, self.conv);
        let mut left = task.panels.clone();
        while !left.is_empty() {
            let panels = packed.of_one_shape(left.clone());
            left.start = panels.end;
            let shape = packed.list[panels.start];
            let channel = task.group * g.spec.group_out() + shape.first;
            let width = shape.registers * g.isa.dots(packed.element).lanes;
            // Channels of a place in the output.
            let each = match self.epilogue.rounding {
                Some(_) => packed.values,
                None => 1,
            };
            let panel = DotPanel {
                element: packed.element,
                batches: panels.len(),
                x_batch: 0,
                out_batch: width / each,
                x,
                x_start,
                table,
                padding: &packed.padding,
                weights: packed.weights(task.group, panels.clone()),
                next_weights: match left.is_empty() {
                    true => next_weights,
                    false => packed.weights(task.group, left.start..left.start + 1),
                },
                // Taps that are read as one have the words of all.
                k: packed.k * packed.taps / table.taps(),
                registers: shape.registers,
                cols: shape.cols,
                integers: packed.integers(task.group, panels.clone()),
                bias: Some(packed.bias(task.group, panels.clone())),
                out: self.out,
                out_start: task.pixels.start * g.out_pixel + channel / each,
                row_stride: g.out_pixel,
                residual: self.epilogue.residual,
                accumulate: self.epilogue.accumulate,
                relu: self.epilogue.relu,
                rounding: self.epilogue.rounding,
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
