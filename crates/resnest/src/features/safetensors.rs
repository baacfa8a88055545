//! A .safetensors file written as the rows come. The crate `safetensors` writes tensors that are whole in memory; its
//! header needs shapes alone, and those are known.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::writer::{FeatureTable, Problem, Rows};

/// The longest header that readers take.
const MAX_HEADER: usize = 100_000_000;

/// `features` as the rows come, and behind it `valid`, which is kept until the end: a byte an image.
pub(super) struct Tensors {
    out: BufWriter<File>,
    width: usize,
    valid: Vec<u8>,
}

impl Tensors {
    pub(super) fn begin(mut out: BufWriter<File>, table: &FeatureTable) -> Result<Self, Problem> {
        let header = header(table)?;
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        Ok(Self {
            out,
            width: table.width(),
            valid: Vec::with_capacity(table.files.len()),
        })
    }
}

/// The JSON, padded so that values begin at a multiple of 8 bytes.
fn header(table: &FeatureTable) -> Result<Vec<u8>, Problem> {
    let refused = |e: &dyn std::fmt::Display| Problem::Format(e.to_string());
    let rows = table.files.len();
    let bytes = (rows.checked_mul(table.width())).and_then(|n| n.checked_mul(size_of::<f32>()));
    let bytes = bytes.ok_or_else(|| refused(&"more values than can be counted"))?;
    let info = |dtype, shape, data_offsets| TensorInfo {
        dtype,
        shape,
        data_offsets,
    };
    let tensors = vec![
        (
            "features".to_owned(),
            info(Dtype::F32, table.whole_shape(), (0, bytes)),
        ),
        (
            "valid".to_owned(),
            info(Dtype::BOOL, vec![rows], (bytes, bytes + rows)),
        ),
    ];
    let files = serde_json::to_string(&table.files).map_err(|e| refused(&e))?;
    let metadata = HashMap::from([
        ("model".to_owned(), table.model.clone()),
        ("layer".to_owned(), table.layer.clone()),
        ("files".to_owned(), files),
    ]);
    let metadata = Metadata::new(Some(metadata), tensors).map_err(|e| refused(&e))?;
    let mut json = serde_json::to_vec(&metadata).map_err(|e| refused(&e))?;
    json.resize(json.len().next_multiple_of(8), b' ');
    if json.len() > MAX_HEADER {
        return Err(refused(
            &"too many file names for a safetensors header; write .parquet or .npy",
        ));
    }
    Ok(json)
}

impl Rows for Tensors {
    fn push(&mut self, _: &str, row: Result<&[f32], &str>) -> Result<(), Problem> {
        self.valid.push(row.is_ok().into());
        match row {
            Ok(row) => {
                for value in row {
                    self.out.write_all(&value.to_le_bytes())?;
                }
            }
            Err(_) => {
                for _ in 0..self.width {
                    self.out.write_all(&f32::NAN.to_le_bytes())?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Problem> {
        self.out.write_all(&self.valid)?;
        Ok(self.out.flush()?)
    }
}
