//! A request's body: whole, within its limits, in time, and decompressed.

use std::io::Read;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use flate2::bufread::{GzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::failure::Kind;
use crate::{Failure, Outcome, State};

/// A body that is there, and its share of the memory that all bodies may take.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    _room: Vec<OwnedSemaphorePermit>,
}

/// Reads it to its end.
///
/// # Errors
/// Larger than a body may be, as it comes or decompressed; not there in time; broken off; no room for it now; compressed in
/// a way that is not read here, or badly.
pub(crate) async fn receive(state: &State, headers: &HeaderMap, body: Body) -> Outcome<Received> {
    let coding = coding(headers)?;
    let limit = state.options.limits.body_timeout;
    let mut received = match tokio::time::timeout(limit, whole(state, headers, body)).await {
        Ok(received) => received?,
        Err(_) => {
            let text = format!("the body was not there within {:.0} s", limit.as_secs_f64());
            return Err(Failure::new(Kind::SlowBody, text));
        }
    };
    if let Some(coding) = coding {
        let most = state.options.limits.max_body;
        let bytes = std::mem::take(&mut received.bytes);
        let work = tokio::task::spawn_blocking(move || inflate(coding, &bytes, most));
        let lost = |_| Failure::internal("decompressing the body failed in a way it should not");
        received.bytes = work.await.map_err(lost)??;
        received._room.push(room(state, received.bytes.len())?);
    }
    Ok(received)
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
}

fn coding(headers: &HeaderMap) -> Outcome<Option<Coding>> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = codings.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?").trim().to_ascii_lowercase();
    match text.as_str() {
        _ if codings.next().is_some() => {}
        "" | "identity" => return Ok(None),
        "gzip" | "x-gzip" => return Ok(Some(Coding::Gzip)),
        "deflate" => return Ok(Some(Coding::Deflate)),
        _ => {}
    }
    let text = format!("content-encoding {text:?} is not read here: use gzip, deflate or none");
    Err(Failure::new(Kind::UnsupportedMedia, text))
}

async fn whole(state: &State, headers: &HeaderMap, mut body: Body) -> Outcome<Received> {
    let most = state.options.limits.max_body;
    let too_large = || {
        let text = format!("the body has more than {most} bytes, which is the most that is taken");
        Failure::new(Kind::TooLarge, text)
    };
    let said = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    // What the client says is only believed of small bodies: others get their room as they come.
    let mut bytes = BytesMut::with_capacity(said.unwrap_or(0).min(1 << 20));
    let mut rooms = Vec::new();
    let mut have = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Failure::bad_request(format!(
                "the body broke off after {} bytes: {error}",
                bytes.len()
            ))
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > most {
            return Err(too_large());
        }
        if bytes.len() + data.len() > have {
            let more = data.len().max(1 << 16);
            rooms.push(room(state, more)?);
            have += more;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Received {
        bytes: bytes.freeze(),
        _room: rooms,
    })
}

/// Room for so many bytes.
pub(crate) fn room(state: &State, bytes: usize) -> Outcome<OwnedSemaphorePermit> {
    let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
    let room = state.bodies.clone().try_acquire_many_owned(kib);
    room.map_err(|_| {
        state.metrics.rejected("", "memory");
        let text = "the bodies of other requests take all the memory that bodies may take: try again later";
        Failure::new(Kind::Overloaded, text)
    })
}

/// The whole of what was compressed, and nothing after it.
fn inflate(coding: Coding, bytes: &[u8], most: usize) -> Outcome<Bytes> {
    let mut all = Vec::new();
    let mut rest = bytes;
    let limit = most as u64 + 1;
    let (read, name) = match coding {
        Coding::Gzip => {
            // A gzip file may have several members.
            let mut read = Ok(0);
            while read.is_ok() && (!rest.is_empty() || all.is_empty()) && all.len() <= most {
                let left = limit - all.len() as u64;
                let before = rest.len();
                read = GzDecoder::new(&mut rest).take(left).read_to_end(&mut all);
                if rest.len() == before || (all.is_empty() && rest.is_empty()) {
                    break;
                }
            }
            (read, "gzip")
        }
        Coding::Deflate => (
            ZlibDecoder::new(&mut rest)
                .take(limit)
                .read_to_end(&mut all),
            "deflate",
        ),
    };
    if all.len() > most {
        let text = format!(
            "the decompressed body has more than {most} bytes, which is the most that is taken"
        );
        return Err(Failure::new(Kind::TooLarge, text));
    }
    match read {
        Err(error) => Err(Failure::bad_request(format!(
            "the body is no good {name} data: {error}"
        ))),
        Ok(_) if !rest.is_empty() => {
            let text = format!("{} bytes follow the end of the {name} data", rest.len());
            Err(Failure::bad_request(text))
        }
        Ok(_) => Ok(all.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn both_codings_give_back_what_was_put_in() {
        let data = b"a body, a body, a body".repeat(50);
        for (coding, packed) in [
            (Coding::Gzip, gzip(&data)),
            (Coding::Deflate, deflate(&data)),
        ] {
            assert_eq!(
                inflate(coding, &packed, 1 << 20).unwrap(),
                data,
                "{coding:?}"
            );
            assert_eq!(
                inflate(coding, &packed, data.len()).unwrap(),
                data,
                "{coding:?}"
            );
            let over = inflate(coding, &packed, data.len() - 1).unwrap_err();
            assert_eq!(over.kind, Kind::TooLarge, "{coding:?}");
        }
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(inflate(Coding::Gzip, &two, 100).unwrap(), "one two");
        assert_eq!(inflate(Coding::Gzip, &gzip(b""), 100).unwrap(), "");
    }

    #[test]
    fn whatever_is_damaged_is_refused() {
        let data = b"a body, a body, a body".repeat(50);
        for (coding, packed) in [
            (Coding::Gzip, gzip(&data)),
            (Coding::Deflate, deflate(&data)),
        ] {
            for length in 0..packed.len() {
                let short = inflate(coding, &packed[..length], 1 << 20);
                assert_eq!(
                    short.map_err(|e| e.kind),
                    Err(Kind::BadRequest),
                    "{coding:?} {length}"
                );
            }
            let long = [&packed[..], b"more"].concat();
            assert!(inflate(coding, &long, 1 << 20).is_err(), "{coding:?}");
            let mut damaged = packed.clone();
            *damaged.last_mut().unwrap() ^= 1; // of the length or the checksum
            assert!(inflate(coding, &damaged, 1 << 20).is_err(), "{coding:?}");
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_limit() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(
            inflate(Coding::Gzip, &bomb, 1 << 20).unwrap_err().kind,
            Kind::TooLarge
        );
    }

    #[test]
    fn other_codings_are_named() {
        let mut headers = HeaderMap::new();
        assert_eq!(coding(&headers).unwrap(), None);
        headers.insert(header::CONTENT_ENCODING, "GZIP".parse().unwrap());
        assert_eq!(coding(&headers).unwrap(), Some(Coding::Gzip));
        headers.append(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(coding(&headers).is_err(), "twice");
        headers.insert(header::CONTENT_ENCODING, "br".parse().unwrap());
        let failure = coding(&headers).unwrap_err();
        assert!(failure.kind == Kind::UnsupportedMedia && failure.message.contains("\"br\""));
    }
}
