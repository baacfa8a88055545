//! Where the pixels under a kernel lie.

/// Where the input pixel of each output pixel lies under each tap; negative in the padding.
#[derive(Default)]
pub(crate) struct OffsetTable {
    /// `[tap][pixel]`
    pub(super) offsets: Vec<isize>,
    pub(super) pixels: usize,
    pub(super) taps: usize,
    /// The largest offset, negative if all are.
    pub(super) max: isize,
}

impl OffsetTable {
    /// Taps, those that are read as one counted once.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Refills the table: `push(tap, offsets)` appends each pixel's element offset, or a negative
    /// number.
    pub fn fill(&mut self, taps: usize, pixels: usize, push: impl Fn(usize, &mut Vec<isize>)) {
        self.offsets.clear();
        self.offsets.reserve(taps * pixels);
        (0..taps).for_each(|tap| push(tap, &mut self.offsets));
        let max = self.offsets.iter().copied().max();
        (self.taps, self.pixels, self.max) = (taps, pixels, max.unwrap_or(-1));
    }

    /// One tap; pixel `i` lies at `i * stride`.
    pub fn fill_rows(&mut self, pixels: usize, start: usize, stride: usize) {
        self.offsets.clear();
        self.offsets
            .extend((0..pixels).map(|i| (start + i * stride) as isize));
        (self.taps, self.pixels) = (1, pixels);
        self.max = self.offsets.last().copied().unwrap_or(-1);
    }
}
