//! numpy's .npy, by the crate `npyz`: the count of rows is known before the first, so the header is written once.

use std::fs::File;
use std::io::BufWriter;

use npyz::{NpyWriter, WriterBuilder};

use super::writer::{FeatureTable, Problem, Rows};

pub(super) struct Npy {
    out: NpyWriter<f32, BufWriter<File>>,
    width: usize,
}

impl Npy {
    pub(super) fn begin(out: BufWriter<File>, table: &FeatureTable) -> Result<Self, Problem> {
        let shape: Vec<u64> = table.whole_shape().iter().map(|&n| n as u64).collect();
        let out = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&shape)
            .writer(out)
            .begin_nd()?;
        let width = table.width();
        Ok(Self { out, width })
    }
}

impl Rows for Npy {
    fn push(&mut self, _: &str, row: Result<&[f32], &str>) -> Result<(), Problem> {
        match row {
            Ok(row) => self.out.extend(row.iter().copied())?,
            Err(_) => self.out.extend(std::iter::repeat_n(f32::NAN, self.width))?,
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Problem> {
        Ok(self.out.finish()?)
    }
}
