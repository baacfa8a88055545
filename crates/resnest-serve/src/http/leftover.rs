//! What is still to come of a body when its request is answered already.
//!
//! Requests are refused as early as that can be known: without a key, for a model that there is not. Left alone, the rest of
//! the body would end the connection: under the hands of a client that is still sending and never sees the answer, or that
//! has put the connection back among those for its next request. So a moderate rest is read and forgotten, and of a larger
//! one the answer says that the connection ends.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{Version, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// Bytes that are read and forgotten, at most: a few photos.
const MOST: u64 = 4 << 20;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A body that comes back when its reader lets it go before its end.
struct Lent {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take()
            && !self.body.is_end_stream()
        {
            // Nobody waits for it where the request itself was given up.
            let _ = back.send(std::mem::take(&mut self.body));
        }
    }
}

/// Where a lent body comes back to.
pub(super) struct Leftover {
    back: oneshot::Receiver<Body>,
    /// The client sends nothing before it is told to.
    waits: bool,
}

/// The request with its body lent, if it has one that ends a connection.
pub(super) fn lend(request: Request) -> (Request, Option<Leftover>) {
    if request.version() >= Version::HTTP_2 || request.body().is_end_stream() {
        return (request, None);
    }
    let waits = request.headers().contains_key(header::EXPECT);
    let (sender, back) = oneshot::channel();
    let lent = |body| {
        Body::new(Lent {
            body,
            back: Some(sender),
        })
    };
    (request.map(lent), Some(Leftover { back, waits }))
}

impl Leftover {
    /// Reads the rest, if it is moderate; whether the connection can be used again.
    pub(super) async fn read(mut self) -> bool {
        let Ok(body) = self.back.try_recv() else {
            return true;
        };
        if self.waits || body.size_hint().lower() > MOST {
            return false;
        }
        let all = tokio::time::timeout(PATIENCE, forget(body)).await;
        all.unwrap_or(false)
    }
}

/// Whether it came to its end.
async fn forget(mut body: Body) -> bool {
    let mut left = MOST;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length as u64) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}
