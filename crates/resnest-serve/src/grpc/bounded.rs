//! Messages that are small on the wire and large in memory are refused before they are decoded.
//!
//! Two bytes are an empty input, and an empty input takes more than a hundred bytes here: without this a message within
//! `--max-body` could ask for a hundred times its size.

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Most strings and messages inside of a message; an image is one of them.
const MOST_PIECES: usize = 1 << 16;
/// An input within a `ModelInferRequest`, and the contents within an input: the messages that repeat others or
/// strings. No other request of the service has a field of this number.
const NESTED_FIELD: u32 = 5;
/// Inputs, then their contents.
const LEVELS: usize = 2;

/// prost's codec with that limit for what comes in.
pub(super) struct BoundedCodec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(self.0.decoder())
    }
}

/// prost's decoder with that limit.
pub(super) struct BoundedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        check(bytes::Buf::chunk(buffer))?;
        self.0.decode(buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Whether a message has few enough pieces. One that cannot be read passes: prost says better what is wrong with it.
fn check(message: &[u8]) -> Result<(), Status> {
    let mut left = MOST_PIECES;
    match count(message, LEVELS, &mut left) {
        None if left == 0 => {
            let text =
                format!("more than {MOST_PIECES} inputs, strings and parameters in one message");
            Err(Status::invalid_argument(text))
        }
        _ => Ok(()),
    }
}

/// Takes a message's pieces from what is left; none when nothing is, or where the message cannot be read.
fn count(mut message: &[u8], levels: usize, left: &mut usize) -> Option<()> {
    while !message.is_empty() {
        let (field, wire_type) = decode_key(&mut message).ok()?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, field, &mut message, DecodeContext::default()).ok()?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
        let (piece, rest) = message.split_at_checked(length)?;
        message = rest;
        *left = left.checked_sub(1)?;
        if field == NESTED_FIELD && levels > 0 {
            count(piece, levels - 1, left)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::generated::model_infer_request::InferInputTensor;
    use crate::grpc::generated::{InferTensorContents, ModelInferRequest};

    fn checked(message: &impl Message) -> Result<(), Status> {
        check(&message.encode_to_vec())
    }

    fn with_strings(strings: usize) -> ModelInferRequest {
        let contents = InferTensorContents {
            bytes_contents: vec![bytes::Bytes::new(); strings],
            ..Default::default()
        };
        let input = InferInputTensor {
            contents: Some(contents),
            ..Default::default()
        };
        ModelInferRequest {
            inputs: vec![input],
            ..Default::default()
        }
    }

    #[test]
    fn as_many_strings_as_may_be() {
        // The input and its contents are two.
        assert!(checked(&with_strings(MOST_PIECES - 2)).is_ok());
        assert!(checked(&with_strings(MOST_PIECES - 1)).is_err());
    }

    #[test]
    fn empty_inputs() {
        let request = |inputs| ModelInferRequest {
            inputs: vec![InferInputTensor::default(); inputs],
            ..Default::default()
        };
        assert!(checked(&request(MOST_PIECES)).is_ok());
        let error = checked(&request(MOST_PIECES + 1)).unwrap_err();
        assert_eq!(error.code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn numbers_count_once() {
        let contents = InferTensorContents {
            uint_contents: vec![1; 3 * MOST_PIECES],
            ..Default::default()
        };
        let mut request = with_strings(0);
        request.inputs[0].contents = Some(contents);
        assert!(checked(&request).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_prosts_to_refuse() {
        for message in [
            &b"\x2a"[..],
            b"\x2a\x05ab",
            b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\xff\xff",
        ] {
            assert!(check(message).is_ok());
            assert!(ModelInferRequest::decode(message).is_err());
        }
    }
}
