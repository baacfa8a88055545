//! numpy's .npy: the count of rows is known before the first, so the header is written once.

use std::fs::File;
use std::io::{BufWriter, Write};

use super::writer::{FeatureTable, Problem, Rows};
use crate::npy;

pub(super) struct Npy {
    out: BufWriter<File>,
    width: usize,
}

impl Npy {
    pub(super) fn begin(mut out: BufWriter<File>, table: &FeatureTable) -> Result<Self, Problem> {
        out.write_all(&npy::header(&table.whole_shape()))?;
        let width = table.width();
        Ok(Self { out, width })
    }
}

impl Rows for Npy {
    fn push(&mut self, _: &str, row: Result<&[f32], &str>) -> Result<(), Problem> {
        match row {
            Ok(row) => row
                .iter()
                .try_for_each(|value| self.out.write_all(&value.to_le_bytes()))?,
            Err(_) => self
                .out
                .write_all(&f32::NAN.to_le_bytes().repeat(self.width))?,
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Problem> {
        Ok(self.out.flush()?)
    }
}
