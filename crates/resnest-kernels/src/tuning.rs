//! Every number that was found by measuring a machine, with the CPU and the caches that it assumes.
//!
//! The machines: "Zen 3" is two cores of a shared AMD EPYC (AVX2; 32 KB L1 and 512 KB L2 a core, a 32 MB slice of
//! L3, 20 to 26 GB/s of memory bandwidth for two threads); "Zen 4" the same with AVX-512 and 1 MB L2. Figures are
//! of whole networks (ResNet-50 size, 224 pixels), old and new interleaved, 20 to 100 rounds, by paired medians.
//! NEON was only tested for its results, never tuned.
//!
//! None of these changes the shape of a result. Those marked *bits* change the order in which sums are made, and
//! with it their last bits; none depends on the CPU or the number of threads, so that results do not either. On
//! another machine the first to try are [`MAX_BLOCK`], [`WINOGRAD_V_VALUES`] and [`MACS_PER_BYTE`].

// Caches.

/// Values of a cache line: 64 bytes, as on all x86-64 and most ARM CPUs. Packed formats depend on it.
pub(crate) const LINE: usize = 16;
/// Shorter maps than this begin where the allocator puts them, longer ones on a cache line: stores that straddle
/// two lines cost AVX2 4% of a resnest50d (Zen 3, 50 rounds). 4 KB; not measured finely.
pub(crate) const ALIGNED_MAP_FROM: usize = 1024;
/// From this many values on (2 MB) an output is taken to lie beyond a core's own cache (L2 of 512 KB to 1 MB), and
/// whole rows of it are fetched to be written as their tile begins. (Measured with less bookkeeping for Winograd's
/// tiles in the same change: layers at 56 pixels 1.05, a resnet50 1.03; the CPU was not recorded.)
pub(crate) const FAR_OUTPUT: usize = 512 * 1024;
/// Packed weights of fewer values than this (256 KB) have memory of their own.
pub(crate) const SHARED_WEIGHTS_FROM: usize = if cfg!(miri) { 64 } else { 64 * 1024 };
/// Values of a chunk of memory for weights: 32 MB, sixteen huge pages of x86-64. Walking through 200 MB of weights
/// in small pages cost 5% of a resnest50d.
pub(crate) const WEIGHTS_CHUNK: usize = if cfg!(miri) { 1024 } else { 8 * 1024 * 1024 };

// The micro-kernel.

/// *Bits.* Most values of k (taps included) in a block. Longer blocks read a panel's weights from the L2 cache,
/// which is fast enough, and write and read partial sums less often: 1.03 of a resnext50 and of a resnest50d over
/// blocks of 320, which fill half of the L1 (Zen 3). Rounding errors grow with it, by an estimate to some 4e-7 of a
/// layer's output.
pub(crate) const MAX_BLOCK: usize = 576;
/// *Bits*, for blocks of k are multiples of it. Steps of k without a test between them, and mostly with one prefetch: a test and a prefetch for each step cost
/// 6% of a resnest50d on AVX2 (Zen 3, 100 rounds).
pub(crate) const UNROLL: usize = 4;
/// Pixels that the kernel for narrow groups of any size computes together: 4 accumulators, 4 inputs and a weight
/// fit AVX2's 16 registers.
pub(crate) const NARROW_PIXELS: usize = 4;
/// The same of the kernel for rows, of AVX2's 16 registers too: 10 accumulators, three weights, an input.
pub(crate) const NARROW_ROW_PIXELS: usize = 10;
/// The same of a group that takes two registers: 12 accumulators, two weights, an input. (14 pixels of one
/// register spilled: half as fast on Zen 3.)
pub(crate) const NARROW_ROW_PAIRED_PIXELS: usize = 6;

// Direct convolution.

/// *Bits.* Of fewer input channels than this a tap is too short a loop: the taps of a row of the kernel, or of the
/// whole kernel, are made one. The networks have 3 such channels, or 8 and more; what lies between was not measured.
pub(crate) const JOIN_TAPS_BELOW: usize = 8;
/// *Bits of channel sums.* From this many pixels on tasks divide the pixels; below, the output channels. No
/// measurement is recorded.
pub(crate) const SPLIT_PIXELS_FROM: usize = 512;
/// *Bits of channel sums.* From this many pixels on, where tasks divide the channels, they divide the pixels in two
/// halves too: a thread then reads the pixels that it wrote in the layer before (Zen 3, traced loop by loop; with
/// the next four 1.015 of a resnext50, 1.018 of a resnest50d).
pub(crate) const HALVE_PIXELS_FROM: usize = 96;
/// Tasks of a layer, about: more than threads, so that nobody waits long for the last one.
pub(crate) const DIRECT_TASKS: usize = 64;
/// Multiply-adds of the last tasks where they divide the channels: some 6 µs of a Zen 3 core.
pub(crate) const SHORTEST_TASK_MACS: usize = 300_000;
/// *Bits of channel sums.* Pixels of the last tasks where they divide the pixels: three tiles of six. One of two
/// CPUs is often a fifth slower, and long last tasks made the faster one wait up to 500 µs (Zen 3).
pub(crate) const SHORTEST_CHUNK: usize = 18;
/// *Bits of channel sums.* Input values of a chunk of pixels that its panels read again and again: 192 KB, under half of a 512 KB L2. Long
/// blocks of k have more, for shorter chunks would stream the weights more often.
pub(crate) const CHUNK_VALUES: usize = 48 * 1024;
/// Multiply-adds in the time that a weight takes which no cache holds and which is used but once:
/// an estimate.
pub(crate) const COLD_WEIGHT_MACS: usize = 20;

// Narrow groups.

/// Values of a packed block: 48 KB, of which a row of the output reads a fraction that a 32 KB L1 holds.
pub(crate) const NARROW_BLOCK_VALUES: usize = 12 * 1024;
/// Rows of the output that are worth packing two more rows of input than they have.
pub(crate) const NARROW_FEWEST_ROWS: usize = 4;

/// Words of a tap up to which the input of low precision is put into a frame, so that the taps of a row of the kernel are one:
/// of more the beginning of a tap does not show.
pub(crate) const FRAME_WORDS: usize = 64;
/// What a tap of a tile of low precision costs before its first product, in words of k. (3x3 of 32 channels in integers, each
/// tap alone: 1.6 times what the products alone take; the taps of a row as one: 1.2 times. Zen 5.)
pub(crate) const TAP_WORDS: f64 = 4.0;

// Winograd's algorithm.

/// *Bits of channel sums.* Values of V that a task of its own may fill: 176 KB, a third of a 512 KB L2.
pub(crate) const WINOGRAD_V_VALUES: usize = 44 * 1024;
/// *Bits of channel sums, as the next two.* Up to this many tiles the whole V is made first and tasks divide the
/// panels: chunks of fewer tiles would read U again and again.
pub(crate) const WINOGRAD_SHARED_TILES: usize = 64;
/// Values of U (16 MB, half of Zen 3's L3) that no cache keeps from one chunk to the next: then four times as many
/// tiles are worth a whole V.
pub(crate) const WINOGRAD_LARGE_U: usize = 4 * 1024 * 1024;
/// *Bits of channel sums.* Words of a group's U (3 MB) from which on it is read anew for at least 24 tiles; a smaller one
/// for at least 12, which gives twice the tasks: by `bench --profile` a resnet50 takes 5% less time on 16 threads so, a
/// resnest50d 6%, and the same on one and two (Zen 5). Of 128 channels and more (4 MB) layers took 6 to 10% more on one.
pub(crate) const WINOGRAD_COSTLY_U: usize = 768 * 1024;
/// From so many groups on each one's tiles are a task, whose V stays in a cache; all of V would not. 32 groups of
/// 32 channels at 7 pixels, a batch of 8: 0.35 to 0.17 ms an image (Zen 3).
pub(crate) const WINOGRAD_MANY_GROUPS: usize = 16;
/// Values between one tile of V or of the products and the next: a cache line. Without it the 64 products of
/// F(6x6) put all tiles into the same sets of the L1: 2 to 6% of a resnest50d on AVX2 (Zen 3).
pub(crate) const WINOGRAD_TILE_GAP: usize = LINE;
/// What a value of Winograd's transforms costs, in multiply-adds; for the choice of an algorithm and of helpers.
pub(crate) const WINOGRAD_TRANSFORM_MACS: usize = 10;

// The choice of an algorithm (`plan.rs`).

/// Multiply-adds in the time that one byte of weights takes to come from memory, with all threads sharing it:
/// 190 GFLOP/s over the 20 to 26 GB/s that two threads of a Zen 3 read, halved, for a multiply-add is two.
pub(crate) const MACS_PER_BYTE: f64 = 4.0;
/// The same of low precision, whose CPUs have vectors of 512 bits and multiply more in that time. With 4, a resnet50 in bf16
/// had F(4x4) at 14 pixels and F(2x2) at 7; F(2x2) and direct are 2% faster for a single image and 20 MB smaller (Zen 5,
/// 3 rounds).
pub(crate) const LOW_MACS_PER_BYTE: f64 = 8.0;
/// Multiply-adds that a byte of weights must save to be kept in memory at all: of 256 channels at 26 pixels, one
/// image at a time, F(6x6) is 5% faster than F(4x4), and a resnest269e 470 MB larger.
pub(crate) const MACS_PER_BYTE_KEPT: f64 = 1.7;

// Pools and copies.

/// *Bits.* Longest run of pixels that a global average adds up in one go; for accuracy, not speed.
pub(crate) const GLOBAL_POOL_RUN: usize = 64;
/// Channels of a task of a global pool: eight cache lines of each pixel, and 16 tasks for 2048 channels.
pub(crate) const GLOBAL_POOL_CHANNELS: usize = 128;
/// Values that a task copies when images are joined: 256 KB.
#[cfg(feature = "candle")]
pub(crate) const JOIN_VALUES: usize = 64 * 1024;

// Threads.

/// Polls before an idle helper goes to sleep: some 100 µs on Zen 3 (under Miri a few, for each is slow).
///
/// A caller is seldom longer between two loops or at the end of one; to wake a helper took the caller some 8 µs
/// and the helper 20.
pub(crate) const IDLE_POLLS: usize = if cfg!(miri) { 10 } else { 4000 };
/// Polls before a caller that waits for its last tasks goes to sleep.
pub(crate) const WAIT_POLLS: usize = if cfg!(miri) { 10 } else { 4000 };
/// Multiply-adds worth a helper: a microsecond or two, about what it takes to engage one.
///
/// Miri runs only small cases, and is there to see them on several threads.
pub(crate) const WORK_PER_THREAD: usize = if cfg!(miri) { 1 } else { 100_000 };
