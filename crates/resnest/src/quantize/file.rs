//! The checkpoint that is written: `resnest_loader`'s format of 8-bit checkpoints.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use resnest_model::InputScale;
use serde_json::{Map, Value, json};

use super::network::Tensors;
use super::weights::Quantized;
use crate::output::Output;

/// One tensor of the file.
struct Entry<'a> {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: Bytes<'a>,
}

enum Bytes<'a> {
    Floats(&'a [f32]),
    Signed(&'a [i8]),
    Byte(u8),
    Float(f32),
}

impl Bytes<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Floats(values) => size_of_val(*values),
            Self::Signed(values) => values.len(),
            Self::Byte(_) => 1,
            Self::Float(_) => 4,
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Floats(values) => values
                .iter()
                .try_for_each(|v| out.write_all(&v.to_le_bytes())),
            Self::Signed(values) => values
                .iter()
                .try_for_each(|v| out.write_all(&v.to_le_bytes())),
            Self::Byte(value) => out.write_all(&[*value]),
            Self::Float(value) => out.write_all(&value.to_le_bytes()),
        }
    }
}

/// Writes `tensors` with the weights of `quantized` in 8 bits: whole, or nothing. Equal contents are equal files.
///
/// # Errors
/// What the system says.
pub(super) fn write(
    output: Output,
    tensors: &Tensors,
    quantized: &BTreeMap<String, (Quantized, InputScale)>,
    metadata: &[(&str, String)],
) -> io::Result<()> {
    let mut entries = Vec::new();
    for (name, t) in tensors {
        let layer = name.strip_suffix(".weight");
        let Some((layer, (weight, input))) = layer.and_then(|l| Some((l, quantized.get(l)?)))
        else {
            entries.push(floats(name.clone(), &t.shape, &t.values));
            continue;
        };
        let entry = |part: &str, dtype, shape: Vec<usize>, bytes| Entry {
            name: format!("{layer}.{part}"),
            dtype,
            shape,
            bytes,
        };
        let scales = Bytes::Floats(&weight.scales);
        entries.extend([
            entry("weight", "I8", t.shape.clone(), Bytes::Signed(&weight.q)),
            entry("weight_scale", "F32", vec![weight.scales.len()], scales),
            entry("input_scale", "F32", vec![1], Bytes::Float(input.scale)),
            entry(
                "input_zero_point",
                "U8",
                vec![1],
                Bytes::Byte(input.zero_point),
            ),
        ]);
    }
    // What is aligned to four bytes first.
    entries.sort_by_key(|e| (e.dtype != "F32", e.name.clone()));
    let mut out = BufWriter::new(output);
    let header = header(&entries, metadata)?;
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    entries.iter().try_for_each(|e| e.bytes.write(&mut out))?;
    out.into_inner().map_err(|e| e.into_error())?.finish()
}

fn floats<'a>(name: String, shape: &[usize], values: &'a [f32]) -> Entry<'a> {
    Entry {
        name,
        dtype: "F32",
        shape: shape.to_vec(),
        bytes: Bytes::Floats(values),
    }
}

/// The header's JSON, in the order of the tensors, padded so that values begin at a multiple of 8 bytes.
fn header(entries: &[Entry<'_>], metadata: &[(&str, String)]) -> io::Result<Vec<u8>> {
    let mut root = Map::new();
    let format = [
        ("format", resnest_loader::INT8_FORMAT),
        ("version", resnest_loader::INT8_VERSION),
    ];
    let format = format
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()));
    let metadata = format.chain(metadata.iter().cloned());
    let metadata: Map<String, Value> = metadata
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    root.insert("__metadata__".into(), Value::Object(metadata));
    let mut start = 0;
    for Entry {
        name,
        dtype,
        shape,
        bytes,
    } in entries
    {
        let end = start + bytes.len();
        let info = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
        root.insert(name.clone(), info);
        start = end;
    }
    let mut json = serde_json::to_vec(&Value::Object(root))?;
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok(json)
}
