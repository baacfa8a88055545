//! Named tensors as the Open Inference Protocol has them, whichever door they come through.

use bytes::Bytes;

use crate::{Failure, Outcome};

/// What a tensor's values are, of the protocol's types those that this server takes or gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// Strings of bytes: an encoded image each, or a text.
    Bytes,
    /// 8-bit pixels.
    Uint8,
    /// Numbers of 32 bits.
    Fp32,
}

impl DataType {
    /// The protocol's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "BYTES",
            Self::Uint8 => "UINT8",
            Self::Fp32 => "FP32",
        }
    }

    /// The type of this name.
    ///
    /// # Errors
    /// Another name; it says of which tensor.
    pub fn parse(tensor: &str, name: &str) -> Outcome<Self> {
        let known = [Self::Bytes, Self::Uint8, Self::Fp32];
        let found = known.into_iter().find(|datatype| datatype.name() == name);
        found.ok_or_else(|| {
            let text = format!(
                "input {tensor:?}: datatype {name:?} is not taken here: use BYTES, UINT8 or FP32"
            );
            Failure::bad_request(text)
        })
    }
}

/// A tensor's values, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// One string of bytes an element.
    Bytes(Vec<Bytes>),
    /// One byte an element.
    Uint8(Bytes),
    /// One number an element.
    Fp32(Vec<f32>),
}

impl Data {
    /// What the values are.
    pub fn datatype(&self) -> DataType {
        match self {
            Self::Bytes(_) => DataType::Bytes,
            Self::Uint8(_) => DataType::Uint8,
            Self::Fp32(_) => DataType::Fp32,
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(data) => data.len(),
            Self::Uint8(data) => data.len(),
            Self::Fp32(data) => data.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From the protocol's raw form: little-endian numbers, and before each string its length as a u32.
    ///
    /// # Errors
    /// Lengths that do not add up; it says of which tensor.
    pub fn from_raw(tensor: &str, datatype: DataType, raw: Bytes) -> Outcome<Self> {
        Ok(match datatype {
            DataType::Uint8 => Self::Uint8(raw),
            DataType::Fp32 => {
                if !raw.len().is_multiple_of(4) {
                    let text = format!(
                        "input {tensor:?}: {} bytes are no whole number of FP32 values",
                        raw.len()
                    );
                    return Err(Failure::bad_request(text));
                }
                let values = raw.chunks_exact(4);
                Self::Fp32(
                    values
                        .map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]]))
                        .collect(),
                )
            }
            DataType::Bytes => Self::Bytes(strings(tensor, raw)?),
        })
    }

    /// To the protocol's raw form.
    pub fn to_raw(&self) -> Bytes {
        match self {
            Self::Uint8(data) => data.clone(),
            Self::Fp32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Bytes(strings) => {
                let mut raw = Vec::new();
                for string in strings {
                    // What is sent here are labels and messages.
                    raw.extend(
                        u32::try_from(string.len())
                            .unwrap_or(u32::MAX)
                            .to_le_bytes(),
                    );
                    raw.extend_from_slice(string);
                }
                raw.into()
            }
        }
    }
}

/// Most strings in a tensor: an empty one is four bytes of a request, and eight times that in memory.
const MOST_STRINGS: usize = 1 << 16;

/// Strings, each with its length as a little-endian u32 before it.
fn strings(tensor: &str, mut raw: Bytes) -> Outcome<Vec<Bytes>> {
    let mut strings = Vec::new();
    while !raw.is_empty() {
        let at = strings.len();
        let short = |what: &str| {
            let text =
                format!("input {tensor:?}: the binary data ends within {what} of element {at}");
            Failure::bad_request(text)
        };
        if at == MOST_STRINGS {
            let text = format!("input {tensor:?} has more than {MOST_STRINGS} elements");
            return Err(Failure::bad_request(text));
        }
        let Some((length, rest)) = raw.split_first_chunk::<4>() else {
            return Err(short("the length"));
        };
        let length = u32::from_le_bytes(*length) as usize;
        if rest.len() < length {
            return Err(short("the bytes"));
        }
        strings.push(raw.slice(4..4 + length));
        raw = raw.slice(4 + length..);
    }
    Ok(strings)
}

/// An input of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct InputTensor {
    /// The input's name.
    pub name: String,
    /// Sizes, as the client gave them.
    pub shape: Vec<i64>,
    /// The values; whether they fit the shape is for `inputs.rs` to see.
    pub data: Data,
}

/// An output that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestedOutput {
    /// The output's name.
    pub name: String,
    /// The protocol's classification extension: so many best classes as text instead of the numbers.
    pub classification: Option<usize>,
}

/// A request of the protocol.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InferRequest {
    /// The model's name.
    pub model: String,
    /// The model's version; none or an empty one for whichever there is.
    pub version: Option<String>,
    /// Sent back as it is.
    pub id: Option<String>,
    /// The inputs.
    pub inputs: Vec<InputTensor>,
    /// The outputs asked for; none for all.
    pub outputs: Vec<RequestedOutput>,
}

/// An output of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputTensor {
    /// The output's name.
    pub name: String,
    /// Sizes.
    pub shape: Vec<usize>,
    /// The values.
    pub data: Data,
}

/// An answer of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct InferResponse {
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: String,
    /// The request's.
    pub id: Option<String>,
    /// The outputs, in the order asked for.
    pub outputs: Vec<OutputTensor>,
    /// How long its images took; the largest of each.
    pub times: crate::engine::Times,
}
