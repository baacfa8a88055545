//! The safetensors header: checked in full before a tensor of the file is read.
//!
//! The `safetensors` crate reads a buffer that already holds the whole file, lets a name that appears twice
//! win silently, and names no tensor in most of its errors; here the header is judged from the file's length
//! alone. The crate's own reading has the last word: a header it refuses is refused here too.

use std::collections::HashMap;
use std::fmt;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::tensor::ElementType;

/// Bytes of the little-endian length in front of the header.
pub(crate) const LENGTH_BYTES: usize = 8;
/// The longest header the reference implementation reads.
const MAX_HEADER: u64 = 100_000_000;
/// The most entries a header may have. The largest network of the family has some two thousand tensors; a
/// header of a million is no checkpoint of one, and comparing names by the million takes its time.
const MAX_ENTRIES: usize = 100_000;

/// A checked header: every tensor's bytes lie inside the file, none overlap.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) tensors: Vec<HeaderTensor>,
    pub(crate) metadata: HashMap<String, String>,
}

/// One tensor of the header; `start` counts from the beginning of the file.
#[derive(Debug)]
pub(crate) struct HeaderTensor {
    pub(crate) name: String,
    pub(crate) dtype: ElementType,
    pub(crate) shape: Vec<usize>,
    pub(crate) start: usize,
}

/// The header's length from its first eight bytes, checked against the file's.
pub(crate) fn header_length(prefix: [u8; LENGTH_BYTES], file_len: u64) -> Result<usize, String> {
    let length = u64::from_le_bytes(prefix);
    let room = file_len.saturating_sub(LENGTH_BYTES as u64);
    if length > room {
        return Err(format!(
            "it claims {length} bytes, but the file has only {room} after the length"
        ));
    }
    if length > MAX_HEADER {
        return Err(format!(
            "it claims {length} bytes; more than {MAX_HEADER} are refused"
        ));
    }
    usize::try_from(length).map_err(|_| "too long for this machine".to_string())
}

/// Reads and checks the header's JSON for a file of `file_len` bytes.
pub(crate) fn parse(json: &[u8], file_len: u64) -> Result<Header, String> {
    let text = std::str::from_utf8(json).map_err(|e| format!("not UTF-8: {e}"))?;
    let raw: RawHeader = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let data_start = LENGTH_BYTES + json.len();
    let data_len = file_len.saturating_sub(data_start as u64);
    let mut infos = raw.tensors;
    infos.sort_by(|a, b| a.1.data_offsets.cmp(&b.1.data_offsets).then(a.0.cmp(&b.0)));
    check_cover(&infos, data_len)?;
    // what a reading without the detour through the crate's own types lets pass
    serde_json::from_str::<Metadata>(text).map_err(|e| e.to_string())?;
    let tensors = infos
        .into_iter()
        .map(|(name, info)| {
            let dtype = element_type(info.dtype)
                .ok_or_else(|| format!("tensor {name}: type {:?} is not supported", info.dtype))?;
            let start = data_start + info.data_offsets.0;
            Ok(HeaderTensor {
                name,
                dtype,
                shape: info.shape,
                start,
            })
        })
        .collect::<Result<_, String>>()?;
    Ok(Header {
        tensors,
        metadata: raw.metadata,
    })
}

/// Offsets sorted: each tensor must start where the one before ended, the last must end the file.
fn check_cover(infos: &[(String, TensorInfo)], data_len: u64) -> Result<(), String> {
    let mut end = 0;
    let mut before: Option<&str> = None;
    for (name, info) in infos {
        let (s, e) = info.data_offsets;
        if e < s {
            return Err(format!("tensor {name}: offsets [{s}, {e}] run backwards"));
        }
        if e as u64 > data_len {
            return Err(format!(
                "tensor {name}: offsets [{s}, {e}] lie outside the file ({data_len} bytes of data)"
            ));
        }
        let bytes = byte_size(info)
            .ok_or_else(|| format!("tensor {name}: shape {:?} overflows", info.shape))?;
        if e - s != bytes {
            return Err(format!(
                "tensor {name}: {:?} {:?} takes {bytes} bytes, but offsets [{s}, {e}] hold {}",
                info.dtype,
                info.shape,
                e - s
            ));
        }
        if s < end {
            return Err(format!(
                "tensors {} and {name} overlap",
                before.unwrap_or("?")
            ));
        }
        if s > end {
            return Err(format!(
                "{} bytes in front of tensor {name} belong to no tensor",
                s - end
            ));
        }
        end = e;
        before = Some(name);
    }
    if end as u64 != data_len {
        return Err(format!(
            "the tensors take {end} bytes, but the file holds {data_len}"
        ));
    }
    Ok(())
}

fn byte_size(info: &TensorInfo) -> Option<usize> {
    let elements = info
        .shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))?;
    let bits = elements.checked_mul(info.dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

fn element_type(dtype: Dtype) -> Option<ElementType> {
    Some(match dtype {
        Dtype::F64 => ElementType::F64,
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::BF16,
        Dtype::I64 => ElementType::I64,
        Dtype::I32 => ElementType::I32,
        Dtype::I16 => ElementType::I16,
        Dtype::I8 => ElementType::I8,
        Dtype::U64 => ElementType::U64,
        Dtype::U32 => ElementType::U32,
        Dtype::U16 => ElementType::U16,
        Dtype::U8 => ElementType::U8,
        Dtype::BOOL => ElementType::Bool,
        Dtype::C64 => ElementType::C64,
        Dtype::F8_E4M3 => ElementType::F8E4M3,
        Dtype::F8_E5M2 => ElementType::F8E5M2,
        _ => return None,
    })
}

/// The header's JSON object with its order kept and a repeated name refused.
struct RawHeader {
    tensors: Vec<(String, TensorInfo)>,
    metadata: HashMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawHeaderVisitor)
    }
}

struct RawHeaderVisitor;

impl<'de> Visitor<'de> for RawHeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader {
            tensors: Vec::new(),
            metadata: HashMap::new(),
        };
        let mut seen = std::collections::HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("tensor {name} appears twice")));
            }
            if seen.len() > MAX_ENTRIES {
                let problem = format!("more than {MAX_ENTRIES} tensors");
                return Err(A::Error::custom(problem));
            }
            if name == "__metadata__" {
                let metadata: Option<_> = map.next_value()?;
                header.metadata = metadata.unwrap_or_default();
            } else {
                let info = map
                    .next_value()
                    .map_err(|e| A::Error::custom(format!("tensor {name}: {e}")))?;
                header.tensors.push((name, info));
            }
        }
        Ok(header)
    }
}
