//! Direct convolution: every size, stride, dilation and grouping through one micro-kernel.

use super::panel::{GroupShape, PanelShape, PanelWeights};
use super::{Finish, Geometry};
use crate::arch::Isa;
use crate::arch::block::{OffsetTable, Panel, Upcoming};
use crate::arch::window::{Place, weighted};
use crate::buffer::with_scratch;
use crate::error::{Error, check_len};
use crate::shape::{ConvSpec, Nhwc};
use crate::share::SharedMut;
use crate::threads::{parallel_for, parallel_for_in_turn};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of fewer input channels than this a tap is too short a loop: then the taps of a row of the
/// kernel, or of the whole kernel, are made one.
const JOIN_BELOW: usize = 8;
/// From this many pixels on, tasks divide the pixels; below, the output channels.
pub(crate) const SPLIT_PIXELS_FROM: usize = 512;
/// From this many pixels on, where tasks divide the channels, they are halved too.
const HALVE_FROM: usize = 96;
/// Multiply-adds in the time that a weight takes which no cache holds, when it is used but once.
const COLD: usize = 20;
/// Multiply-adds of the last tasks, where they divide the channels.
const SHORTEST_WORK: usize = 300_000;
/// Input values of a chunk of pixels that its panels read again and again: 192 KB, and more of long blocks of k,
/// for which shorter chunks would stream the weights more often.
const CHUNK_VALUES: usize = 48 * 1024;
/// Tasks of a layer, about.
const TASKS: usize = 64;
/// Pixels of the last tasks, which are shorter so that the threads end together.
const SHORTEST_CHUNK: usize = 18;

/// Weights packed for direct convolution.
pub(crate) struct Direct {
    panels: PanelWeights,
    taps: Taps,
}

/// How the micro-kernel sees the taps of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taps {
    Single,
    /// Those of a row of the kernel as one, for in NHWC they are neighbours; the image is copied
    /// into a frame of zeros first.
    Rows,
    /// All as one: each pixel's are copied into a row first (im2col).
    Gathered,
}

impl Taps {
    fn of(spec: &ConvSpec) -> Self {
        if spec.taps() == 1 || spec.group_in() >= JOIN_BELOW {
            Taps::Single
        } else if spec.groups == 1 && spec.dilation == 1 {
            Taps::Rows
        } else {
            Taps::Gathered
        }
    }
}

/// What is convolved.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// An activation.
    Plain(&'a [f32]),
    /// Weighted sums of splits, made chunk by chunk as a 1x1 convolution reads them.
    Weighted(Weighted<'a>),
}

impl Source<'_> {
    /// Fails unless it is a map of this shape.
    pub fn check(&self, input: Nhwc) -> Result<(), Error> {
        match self {
            Source::Plain(x) => check_len("input", x.len(), input.len()),
            Source::Weighted(Weighted { splits, radix, .. }) => {
                check_len("splits", splits.len(), input.len() * radix)
            }
        }
    }
}

/// What the tasks read.
#[derive(Clone, Copy)]
enum Input<'a> {
    Source(Source<'a>),
    /// An activation in a frame of zeros.
    Framed(&'a [f32]),
}

/// The splits of a split attention and the weights of their channels.
#[derive(Clone, Copy)]
pub(crate) struct Weighted<'a> {
    /// (N, H, W, radix·C)
    pub splits: &'a [f32],
    /// `[n][radix][C]`
    pub attention: &'a [f32],
    pub radix: usize,
}

impl Weighted<'_> {
    /// The weighted sums of some pixels, which may lie in several images of `per_image` pixels.
    ///
    /// # Safety
    /// Nobody else may touch these places of `out` meanwhile.
    pub unsafe fn sums(&self, isa: Isa, pixels: Range<usize>, per_image: usize, out: Place) {
        let (out, first, len) = out;
        let channels = len / pixels.len().max(1);
        let width = channels * self.radix;
        let mut at = pixels.start;
        while at < pixels.end {
            let image = at / per_image;
            let end = ((image + 1) * per_image).min(pixels.end);
            let splits = &self.splits[at * width..end * width];
            let attention = &self.attention[image * width..][..width];
            let place = first + (at - pixels.start) * channels;
            let out = (out, place, (end - at) * channels);
            // SAFETY: a part of the caller's places.
            unsafe { weighted(isa, splits, attention, self.radix, out) };
            at = end;
        }
    }
}

/// A thread's table, and for which loop and pixels it was made: many tasks differ in channels alone.
#[derive(Default)]
struct Table {
    offsets: OffsetTable,
    made_for: Option<(usize, Range<usize>)>,
}

impl Table {
    /// The table for some pixels of a loop, made by `fill` unless it is there.
    fn of(&mut self, id: usize, pixels: &Range<usize>, fill: impl FnOnce(&mut OffsetTable)) {
        let key = (id, pixels.clone());
        if self.made_for.as_ref() != Some(&key) {
            fill(&mut self.offsets);
            self.made_for = Some(key);
        }
    }
}

/// Counts loops.
static LOOPS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

/// One task: some pixels by some panels of one group.
struct Task {
    pixels: Range<usize>,
    group: usize,
    panels: Range<usize>,
    /// Which row of partial sums it adds to.
    part: usize,
}

/// A task, and the weights that its thread will read after it.
type Turn<'a> = (&'a Task, &'a [f32]);

impl Direct {
    pub fn pack(isa: Isa, spec: &ConvSpec, weight: &[f32], bias: Option<&[f32]>) -> Self {
        let (k, taps) = (spec.group_in(), spec.taps());
        let joined = Taps::of(spec);
        let mut shape = GroupShape {
            groups: spec.groups,
            k,
            taps,
            out: spec.group_out(),
        };
        (shape.k, shape.taps) = match joined {
            Taps::Single => (k, taps),
            Taps::Rows => (k * spec.kernel, spec.kernel),
            Taps::Gathered => (k * taps, 1),
        };
        // Value `i` of joined tap `tap`: channels of the first tap in it, of the second, ...
        let inside = taps / shape.taps;
        let place = |tap, i| i % k * taps + tap * inside + i / k;
        Direct {
            panels: PanelWeights::pack(isa, shape, bias, weight, place),
            taps: joined,
        }
    }

    pub fn bytes(&self) -> usize {
        self.panels.bytes()
    }

    /// Whether every value is written once, when its sum is whole: it can be added to what is there.
    pub fn writes_once(&self) -> bool {
        self.panels.k <= self.panels.k_block
    }

    /// Whether it can cut its output into planes of so many channels: those of each of its panels.
    pub fn writes_planes(&self, width: usize) -> bool {
        let whole = |p: &PanelShape| p.cols == width;
        self.taps == Taps::Single && self.panels.list.iter().all(whole)
    }

    pub fn run(
        &self,
        g: &Geometry,
        source: Source,
        out: &SharedMut,
        finish: Finish,
        sums: Option<&mut [f32]>,
    ) {
        match source {
            Source::Plain(x) if self.taps == Taps::Rows => {
                let framed = framed(g);
                with_scratch(framed.len(), |values| {
                    frame(g, x, framed, values);
                    self.run_tasks(g, Input::Framed(values), out, finish, sums);
                });
            }
            _ => self.run_tasks(g, Input::Source(source), out, finish, sums),
        }
    }

    /// In multiply-adds.
    fn work(&self, g: &Geometry) -> usize {
        g.macs() + COLD * self.panels.values()
    }

    fn run_tasks(
        &self,
        g: &Geometry,
        input: Input,
        out: &SharedMut,
        finish: Finish,
        sums: Option<&mut [f32]>,
    ) {
        let tasks = self.tasks(g, input, sums.is_some());
        let id = LOOPS.fetch_add(1, Ordering::Relaxed);
        let run = |partial: Option<&SharedMut>| {
            parallel_for_in_turn(tasks.len(), self.work(g), &|index, next| {
                let following = next.map_or(&[][..], |next| {
                    let Task { group, panels, .. } = &tasks[next];
                    self.panels.weights(*group, panels.start..panels.start + 1)
                });
                let turn = (&tasks[index], following);
                self.run_task((id, g), input, out, finish, turn, partial);
            });
        };
        let Some(total) = sums else { return run(None) };
        let parts = tasks.iter().map(|t| t.part + 1).max().unwrap_or(0);
        with_scratch(parts * g.output.c, |partial| {
            run(Some(&SharedMut::new(partial)));
            super::add_parts(total, partial, g.output.c, parts);
        });
    }

    /// The division depends on the shape alone, never on the number of threads: so do the sums.
    ///
    /// Tasks are short, for at the end of a loop threads wait for the last one; and a thread that takes
    /// neighbouring ones, as they do, has what they read in its cache.
    fn tasks(&self, g: &Geometry, input: Input, sums: bool) -> Vec<Task> {
        let images = if sums { g.output.n } else { 1 };
        let pixels = g.output.pixels() / images;
        if pixels * images < SPLIT_PIXELS_FROM {
            return self.tasks_by_panels(g, images, pixels);
        }
        let longest = (CHUNK_VALUES / self.panels.k_block.min(320)).max(96);
        let longest = (pixels * images).div_ceil(32).clamp(96, longest);
        let chunks = super::tapered(pixels, 6, SHORTEST_CHUNK, longest);
        let panels = self.panels.list.len();
        // Rows that are made for a task are not worth making twice.
        let made = matches!(input, Input::Source(Source::Weighted(_)));
        let most = match made || self.taps == Taps::Gathered {
            true => 1,
            false => panels,
        };
        let pixel_work = g.macs() / (pixels * images * g.spec.groups);
        let mut tasks = Vec::with_capacity(images * chunks.len() * g.spec.groups + TASKS);
        for (part, group) in (0..images * chunks.len())
            .flat_map(|part| (0..g.spec.groups).map(move |group| (part, group)))
        {
            let chunk = &chunks[part % chunks.len()];
            let first = part / chunks.len() * pixels;
            let mut ranges = (chunk.len() * TASKS).div_ceil(pixels * images);
            if chunk.len() <= SHORTEST_CHUNK {
                ranges = ranges.max(chunk.len() * pixel_work / SHORTEST_WORK);
            }
            let ranges = ranges.min(most);
            tasks.extend((0..ranges).map(|range| Task {
                pixels: first + chunk.start..first + chunk.end,
                group,
                panels: super::share_of(panels, 1, range, ranges),
                part,
            }));
        }
        tasks
    }

    /// Of few pixels a task takes all of an image or half of them.
    fn tasks_by_panels(&self, g: &Geometry, images: usize, pixels: usize) -> Vec<Task> {
        let panels = self.panels.list.len();
        // A thread then meets the pixels that it wrote in the layer before.
        let halves = if pixels >= HALVE_FROM { 2 } else { 1 };
        let units = images * halves * g.spec.groups * panels;
        let mut tasks = Vec::with_capacity(2 * TASKS);
        let shortest = (units * SHORTEST_WORK).div_ceil(self.work(g).max(1));
        let longest = units.div_ceil(TASKS).max(shortest);
        for mut units in super::tapered(units, 1, shortest, longest) {
            while !units.is_empty() {
                let (unit, first) = (units.start / panels, units.start % panels);
                let next = units.end.min((unit + 1) * panels);
                let end = first + next - units.start;
                let (part, group) = (unit / g.spec.groups, unit % g.spec.groups);
                let (image, half) = (part / halves, part % halves);
                let share = super::share_of(pixels, 6, half, halves);
                tasks.push(Task {
                    pixels: image * pixels + share.start..image * pixels + share.end,
                    group,
                    // From the ends towards the middle, so that both halves' threads meet the same
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

    fn run_task(
        &self,
        (id, g): (usize, &Geometry),
        input: Input,
        out: &SharedMut,
        finish: Finish,
        turn: Turn,
        sums: Option<&SharedMut>,
    ) {
        let (task, _) = turn;
        let mut table = TABLE.take();
        let k = self.panels.k;
        let mut from_rows = |fill: &dyn Fn(&mut [f32])| {
            with_scratch(task.pixels.len() * k, |rows| {
                fill(rows);
                table.of(id, &task.pixels, |offsets| {
                    offsets.fill_rows(task.pixels.len(), 0, k)
                });
                self.run_panels(g, (rows, 0), &table.offsets, out, finish, turn, sums);
            });
        };
        match input {
            Input::Source(Source::Plain(x)) if self.taps == Taps::Gathered => {
                from_rows(&|rows| gather(g, x, task, rows))
            }
            Input::Source(Source::Weighted(weighted)) => from_rows(&|rows| {
                let per_image = g.input.h * g.input.w;
                let (len, rows) = (rows.len(), SharedMut::new(rows));
                // SAFETY: the rows are this task's own.
                unsafe { weighted.sums(g.isa, task.pixels.clone(), per_image, (&rows, 0, len)) };
            }),
            Input::Framed(x) => {
                table.of(id, &task.pixels, |offsets| {
                    fill_framed(offsets, g, task.pixels.clone())
                });
                self.run_panels(g, (x, 0), &table.offsets, out, finish, turn, sums);
            }
            Input::Source(Source::Plain(x)) => {
                table.of(id, &task.pixels, |offsets| {
                    g.fill_table(offsets, task.pixels.clone())
                });
                let start = task.group * self.panels.k;
                self.run_panels(g, (x, start), &table.offsets, out, finish, turn, sums);
            }
        }
        TABLE.replace(table);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one task, used once"
    )]
    fn run_panels(
        &self,
        g: &Geometry,
        (x, x_start): (&[f32], usize),
        table: &OffsetTable,
        out: &SharedMut,
        finish: Finish,
        (task, following): Turn,
        sums: Option<&SharedMut>,
    ) {
        let mut left = task.panels.clone();
        while !left.is_empty() {
            let panels = self.panels.alike(left.clone());
            left.start = panels.end;
            let shape = self.panels.list[panels.start];
            let next = match left.is_empty() {
                true => following,
                false => self.panels.weights(task.group, left.start..left.start + 1),
            };
            let channel = task.group * g.spec.group_out() + shape.first;
            let width = shape.registers * g.isa.kernels().lanes;
            let panel = Panel {
                batches: panels.len(),
                x_batch: 0,
                out_batch: if g.out_plane > 0 { g.out_plane } else { width },
                x,
                x_start,
                table,
                weights: self.panels.weights(task.group, panels.clone()),
                next_weights: next,
                k: self.panels.k,
                k_block: self.panels.k_block,
                registers: shape.registers,
                cols: shape.cols,
                bias: Some(self.panels.bias(task.group, panels.clone())),
                out,
                out_start: task.pixels.start * g.out_pixel + g.out_at(channel),
                row_stride: g.out_pixel,
                residual: finish.residual,
                onto: finish.onto,
                relu: finish.relu,
                upcoming: Upcoming::default(),
            };
            let Some(sums) = sums else {
                // SAFETY: tasks differ in pixels or in channels, so no two write the same values.
                unsafe { panel.run(g.isa, None) };
                continue;
            };
            with_scratch(panels.len() * width, |columns| {
                columns.fill(0.0);
                let valid = (panels.len() - 1) * width + shape.cols;
                // SAFETY: as above; each task's part of the sums is its own too.
                unsafe {
                    panel.run(g.isa, Some(columns));
                    sums.slice(task.part * g.output.c + channel, valid)
                        .copy_from_slice(&columns[..valid]);
                }
            });
        }
    }
}

/// The input with its padding.
fn framed(g: &Geometry) -> Nhwc {
    let side = 2 * g.spec.padding;
    Nhwc {
        h: g.input.h + side,
        w: g.input.w + side,
        ..g.input
    }
}

/// Copies the input into `out`, its padding around it.
fn frame(g: &Geometry, x: &[f32], framed: Nhwc, out: &mut [f32]) {
    let rows = framed.n * framed.h;
    let tasks = rows.min(16);
    let channels = g.input.c;
    let (row_len, inner_len) = (framed.w * channels, g.input.w * channels);
    let margin = g.spec.padding * channels;
    let out = SharedMut::new(out);
    parallel_for(tasks, framed.len(), &|task| {
        for row in super::share_of(rows, 1, task, tasks) {
            let (image, y) = (row / framed.h, row % framed.h);
            // SAFETY: each row belongs to one task.
            let out = unsafe { out.slice(row * row_len, row_len) };
            // Above the image it wraps to a huge number.
            let y = y.wrapping_sub(g.spec.padding);
            if y >= g.input.h {
                out.fill(0.0);
                continue;
            }
            let from = &x[(image * g.input.h + y) * g.input.w * g.x_pixel..];
            out[..margin].fill(0.0);
            out[margin + inner_len..].fill(0.0);
            let out = &mut out[margin..margin + inner_len];
            if g.x_pixel == channels {
                out.copy_from_slice(&from[..inner_len]);
            } else {
                let pixels = out.chunks_exact_mut(channels);
                for (out, from) in pixels.zip(from.chunks(g.x_pixel)) {
                    out.copy_from_slice(&from[..channels]);
                }
            }
        }
    });
}

/// Where each output pixel's rows of the kernel begin in the framed input.
fn fill_framed(table: &mut OffsetTable, g: &Geometry, pixels: Range<usize>) {
    let (framed, stride) = (framed(g), g.spec.stride);
    let rows = g.rows(pixels.clone());
    table.fill(g.spec.kernel, pixels.len(), |tap, offsets| {
        for (image, oy, columns) in &rows {
            let first = (image * framed.h + oy * stride + tap) * framed.w;
            let columns = columns.clone();
            offsets.extend(columns.map(|ox| ((first + ox * stride) * framed.c) as isize));
        }
    });
}

/// Copies the pixels under every tap of every output pixel into a row: `[tap][channel]`.
fn gather(g: &Geometry, x: &[f32], task: &Task, rows: &mut [f32]) {
    let channels = g.spec.group_in();
    let first = task.group * channels;
    let whole_rows = g.spec.dilation == 1 && channels == g.x_pixel;
    let row_len = g.spec.taps() * channels;
    for (row, pixel) in rows.chunks_exact_mut(row_len).zip(task.pixels.clone()) {
        let (image, top, left) = g.window(pixel);
        let lines = row.chunks_exact_mut(g.spec.kernel * channels);
        for (ky, line) in lines.enumerate() {
            let y = top + (ky * g.spec.dilation) as isize;
            if y as usize >= g.input.h {
                line.fill(0.0);
                continue;
            }
            let at = (image * g.input.h + y as usize) * g.input.w * g.x_pixel;
            let source = &x[at..at + (g.input.w - 1) * g.x_pixel + g.input.c];
            let inside = left >= 0 && left as usize + g.spec.kernel <= g.input.w;
            if whole_rows && inside {
                let at = left as usize * channels;
                line.copy_from_slice(&source[at..at + line.len()]);
            } else {
                gather_line(g, source, left, first, line);
            }
        }
    }
}

/// One row of the kernel, tap by tap.
fn gather_line(g: &Geometry, source: &[f32], left: isize, first: usize, line: &mut [f32]) {
    for (kx, values) in line.chunks_exact_mut(g.spec.group_in()).enumerate() {
        let x = (left + (kx * g.spec.dilation) as isize) as usize;
        if x < g.input.w {
            let at = x * g.x_pixel + first;
            values.copy_from_slice(&source[at..at + values.len()]);
        } else {
            values.fill(0.0);
        }
    }
}
