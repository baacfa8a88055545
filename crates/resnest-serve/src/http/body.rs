//! A request's body: whole, within its limits, in time, and decompressed.

use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::failure::Kind;
use crate::metrics::Metrics;
use crate::{Failure, Outcome, State};

/// A body that is there, and its share of the memory that all bodies may take.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    _room: Room,
    _inflated: Option<Room>,
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
        let mut room = Room::of(state);
        // A few at a time: what grows is there twice while it is moved, and they are to share the CPUs with others. The turn
        // goes with the work, which nobody stops when its client leaves.
        let turn = state.inflating.clone().acquire_owned().await;
        let work = move || {
            let _turn = turn;
            // Taken as it grows: what many small bodies might become at once is more than there is.
            let bytes = inflate(coding, &bytes, most, &mut |more| room.take(more))?;
            Ok((bytes, room))
        };
        let (bytes, room) = on_another_thread(work).await?;
        (received.bytes, received._inflated) = (bytes, Some(room));
    }
    Ok(received)
}

/// Bodies of no more bytes are read where they are received: the way to another thread takes longer.
pub(super) const SMALL: usize = 256 << 10;

/// Reads a body of so many bytes, which for a large one takes so long that others would wait who only ask for the health.
pub(super) async fn reading<T, W>(bytes: usize, work: W) -> Outcome<T>
where
    T: Send + 'static,
    W: FnOnce() -> Outcome<T> + Send + 'static,
{
    match bytes <= SMALL {
        true => work(),
        false => on_another_thread(work).await,
    }
}

/// Has work done where nobody waits for the thread.
pub(super) async fn on_another_thread<T, W>(work: W) -> Outcome<T>
where
    T: Send + 'static,
    W: FnOnce() -> Outcome<T> + Send + 'static,
{
    let lost =
        |_| Failure::internal("reading the body failed in a way it should not: please report this");
    tokio::task::spawn_blocking(work).await.map_err(lost)?
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
    // What the client says is only believed of small bodies: others get their room as they come, twice as much each time,
    // as is what grows in memory.
    let mut bytes = BytesMut::with_capacity(said.unwrap_or(0).min(1 << 20));
    let step = said.unwrap_or(STEP).clamp(4 << 10, STEP);
    let (mut room, mut have) = (Room::of(state), 0);
    let end = said.unwrap_or(most);
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
            let more = data.len().max(step).max(have.min(end.saturating_sub(have)));
            room.take(more)?;
            have += more;
            if have > SMALL {
                bytes.reserve(have - bytes.len());
            }
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Received {
        bytes: bytes.freeze(),
        _room: room,
        _inflated: None,
    })
}

/// Room for so many bytes.
pub(crate) fn room(state: &State, bytes: usize) -> Outcome<OwnedSemaphorePermit> {
    share(&state.bodies, &state.metrics, bytes)
}

fn share(all: &Arc<Semaphore>, metrics: &Metrics, bytes: usize) -> Outcome<OwnedSemaphorePermit> {
    let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
    let room = all.clone().try_acquire_many_owned(kib);
    room.map_err(|_| {
        metrics.rejected("", "memory");
        let text = "the bodies of other requests take all the memory that bodies may take: try again later";
        Failure::new(Kind::Overloaded, text)
    })
}

/// By so many bytes room is taken for a body whose length is not known.
const STEP: usize = 64 << 10;

/// A share of the memory that all bodies may take.
#[derive(Debug)]
struct Room {
    all: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    metrics: Metrics,
}

impl Room {
    fn of(state: &State) -> Self {
        Self {
            all: state.bodies.clone(),
            taken: None,
            metrics: state.metrics.clone(),
        }
    }

    /// So many bytes more.
    fn take(&mut self, bytes: usize) -> Outcome<()> {
        let more = share(&self.all, &self.metrics, bytes)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

/// The whole of what was compressed, and nothing after it; `room` is asked before it grows.
fn inflate(
    coding: Coding,
    bytes: &[u8],
    most: usize,
    room: &mut dyn FnMut(usize) -> Outcome<()>,
) -> Outcome<Bytes> {
    let mut rest = bytes;
    // A gzip file may have several members.
    let (name, mut reader): (_, Box<dyn Read + '_>) = match coding {
        Coding::Gzip => ("gzip", Box::new(MultiGzDecoder::new(&mut rest))),
        Coding::Deflate => ("deflate", Box::new(ZlibDecoder::new(&mut rest))),
    };
    let bad = |error| Failure::bad_request(format!("the body is no good {name} data: {error}"));
    let mut all = Vec::new();
    loop {
        let more = all.len().max(STEP).min(most + STEP - all.len());
        room(more)?;
        all.reserve_exact(more);
        let step = reader.by_ref().take(more as u64).read_to_end(&mut all);
        if all.len() > most || step.map_err(bad)? == 0 {
            break;
        }
    }
    drop(reader);
    if all.len() > most {
        let text = format!(
            "the decompressed body has more than {most} bytes, which is the most that is taken"
        );
        return Err(Failure::new(Kind::TooLarge, text));
    }
    if !rest.is_empty() {
        let text = format!("{} bytes follow the end of the {name} data", rest.len());
        return Err(Failure::bad_request(text));
    }
    Ok(all.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn inflate(coding: Coding, bytes: &[u8], most: usize) -> Outcome<Bytes> {
        super::inflate(coding, bytes, most, &mut |_| Ok(()))
    }

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
    fn a_body_grows_only_where_there_is_room() {
        let bomb = gzip(&vec![0; 1 << 20]);
        let mut left = 200 << 10;
        let mut room = |more: usize| match left >= more {
            true => {
                left -= more;
                Ok(())
            }
            false => Err(Failure::new(Kind::Overloaded, "full")),
        };
        let failure = super::inflate(Coding::Gzip, &bomb, 64 << 20, &mut room).unwrap_err();
        assert_eq!(failure.kind, Kind::Overloaded);
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
