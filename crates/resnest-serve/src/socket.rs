//! A connection's socket, which notices what its client keeps it open with, and which is closed without losing an answer.
//!
//! The time for a request's head is kept here and not by hyper, whose limit also runs while a connection rests between two
//! requests, and does not run at all before the first byte. So are the last words of a connection: what hyper answers by
//! itself has no body, and a socket that is closed while bytes of the client lie unread is reset, which takes the answer
//! with it that the client had yet to read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::failure::Kind;
use crate::options::RequestLimits;

/// How an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// For a client to say something or to leave, once its last answer is on its way.
const LINGER: Duration = Duration::from_secs(2);
/// The same, however much it says.
const LINGER_IN_ALL: Duration = Duration::from_secs(30);

/// What hyper reads from and writes to.
pub(crate) struct Socket {
    read: Arc<OwnedReadHalf>,
    write: Arc<OwnedWriteHalf>,
    activity: Arc<Activity>,
}

/// The same connection for those who watch over it.
pub(crate) struct Line {
    read: Arc<OwnedReadHalf>,
    write: Arc<OwnedWriteHalf>,
    activity: Arc<Activity>,
}

/// What a connection is at.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<Now>);

#[derive(Debug)]
struct Now {
    /// Requests that are being answered.
    answering: usize,
    /// Since when a request's head is on its way.
    head: Option<Instant>,
    /// When something was last written, or an answer was done.
    last: Instant,
    /// Bytes so far that are as HTTP/2 begins, until it is clear which protocol it is.
    preface: Option<usize>,
    http2: bool,
}

/// Why a connection is closed on its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// A head has begun and does not end.
    Head,
    /// Nothing has been asked for long.
    Rest,
}

/// A request that is being answered, until it is dropped.
pub(crate) struct Answering(Arc<Activity>);

/// Takes a connection apart: what hyper gets, and what remains with those who watch.
pub(crate) fn split(stream: TcpStream) -> (Socket, Line) {
    let (read, write) = stream.into_split();
    let (read, write) = (Arc::new(read), Arc::new(write));
    let activity = Arc::new(Activity(Mutex::new(Now {
        answering: 0,
        head: None,
        last: Instant::now(),
        preface: Some(0),
        http2: false,
    })));
    let socket = Socket {
        read: read.clone(),
        write: write.clone(),
        activity: activity.clone(),
    };
    let line = Line {
        read,
        write,
        activity,
    };
    (socket, line)
}

impl Activity {
    fn with<T>(&self, work: impl FnOnce(&mut Now) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One more request is being answered.
    pub(crate) fn answering(self: &Arc<Self>) -> Answering {
        self.with(|now| {
            now.answering += 1;
            now.head = None;
        });
        Answering(self.clone())
    }

    fn read(&self, bytes: &[u8]) {
        self.with(|now| now.read(bytes));
    }

    fn wrote(&self) {
        self.with(|now| now.last = Instant::now());
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.with(|now| {
            now.answering = now.answering.saturating_sub(1);
            now.last = Instant::now();
        });
    }
}

impl Now {
    fn read(&mut self, bytes: &[u8]) {
        if let Some(have) = self.preface {
            let rest = &PREFACE[have..];
            let common = rest.len().min(bytes.len());
            self.preface = (rest[..common] == bytes[..common]).then_some(have + common);
            if self.preface == Some(PREFACE.len()) {
                // hyper asks such a client whether it is there, and counts what it sends.
                (self.http2, self.preface, self.head) = (true, None, None);
            }
        }
        if !self.http2 && self.answering == 0 && !bytes.is_empty() {
            self.head.get_or_insert_with(Instant::now);
        }
    }

    fn late(&self, limits: &RequestLimits, crowded: bool) -> Option<Late> {
        if self.answering > 0 || self.http2 {
            return None;
        }
        let rest = match crowded {
            true => limits.idle_timeout.min(limits.head_timeout),
            false => limits.idle_timeout,
        };
        match self.head {
            Some(since) if since.elapsed() >= limits.head_timeout => Some(Late::Head),
            None if self.last.elapsed() >= rest => Some(Late::Rest),
            _ => None,
        }
    }
}

impl Line {
    /// What this connection is at.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Waits until the client has kept the connection open for too long. It is noticed up to half of the time for a head
    /// late: that spares a timer set anew for every request. Where others wait to be let in, one that rests has no longer
    /// for it than a head may take.
    pub(crate) async fn late(&self, limits: &RequestLimits, crowded: impl Fn() -> bool) -> Late {
        let pause = limits.head_timeout.min(limits.idle_timeout) / 2;
        loop {
            if let Some(late) = self.activity.with(|now| now.late(limits, crowded())) {
                return late;
            }
            tokio::time::sleep(pause.max(Duration::from_millis(5))).await;
        }
    }

    /// Closes it, once hyper is done with it: says why if nobody has, and lets the client read what was said.
    pub(crate) async fn close(self, late: Option<Late>, draining: bool) {
        let Self {
            read,
            write,
            activity,
        } = self;
        let stream: &TcpStream = (*read).as_ref();
        if late == Some(Late::Head) {
            let text = "the request's head was not there in time";
            say(stream, &activity, Kind::SlowBody, text);
        } else if draining && asks(stream, &activity) {
            // It came just when the connection was closed as one that rests.
            say(
                stream,
                &activity,
                Kind::Unavailable,
                "the server is shutting down",
            );
        }
        let spoke = activity.with(|now| now.last.elapsed()) < LINGER;
        drop(write);
        if spoke {
            let _ = tokio::time::timeout(LINGER_IN_ALL, until_it_leaves(&read)).await;
        }
    }
}

/// Whether a request has come that nobody has read.
fn asks(stream: &TcpStream, activity: &Activity) -> bool {
    let free = activity.with(|now| now.answering == 0 && !now.http2);
    let mut some = [0; 4096];
    free && matches!(stream.try_read(&mut some), Ok(1..))
}

/// Answers without hyper. What does not fit into the socket at once is not worth waiting for.
fn say(stream: &TcpStream, activity: &Activity, kind: Kind, text: &str) {
    let _ = stream.try_write(&answer(kind.status(), text));
    activity.wrote();
}

fn answer(status: axum::http::StatusCode, text: &str) -> Vec<u8> {
    let body = json!({ "error": text }).to_string();
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("error"),
        body.len()
    );
    (head + &body).into_bytes()
}

/// Throws away what still comes.
async fn until_it_leaves(read: &OwnedReadHalf) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        match read.try_read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match tokio::time::timeout(LINGER, read.readable()).await {
                    Ok(Ok(())) => {}
                    _ => return,
                }
            }
            Err(_) => return,
        }
    }
}

/// What to say instead of an answer that hyper gives by itself, which has no body: to a head that is no head.
fn in_words(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(bytes).ok()?;
    let status = head.strip_prefix("HTTP/1.1 4")?.get(..2)?;
    if head.len() > 256 || !head.ends_with("\r\n\r\n") || !head.contains("content-length: 0\r\n") {
        return None;
    }
    let text = match status {
        "31" => "the request's head is too large or has too many fields",
        "14" => "the address is too long",
        _ => "the request's head is not HTTP/1.1",
    };
    let status = axum::http::StatusCode::from_bytes(format!("4{status}").as_bytes());
    Some(answer(status.ok()?, text))
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream: &TcpStream = (*self.read).as_ref();
        let before = buffer.filled().len();
        loop {
            ready!(stream.poll_read_ready(context))?;
            match stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(_) => {
                    self.activity.read(&buffer.filled()[before..]);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream: &TcpStream = (*self.write).as_ref();
        let words = in_words(bytes);
        loop {
            ready!(stream.poll_write_ready(context))?;
            match stream.try_write(words.as_deref().unwrap_or(bytes)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    self.activity.wrote();
                    // hyper believes its own words to have been said.
                    return Poll::Ready(Ok(words.map_or(count, |_| bytes.len())));
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// [`Line::close`] does it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Now {
        Now {
            answering: 0,
            head: None,
            last: Instant::now(),
            preface: Some(0),
            http2: false,
        }
    }

    #[test]
    fn http_2_is_known_by_its_first_bytes_however_they_come() {
        for size in [1, 5, 24] {
            let mut now = now();
            PREFACE.chunks(size).for_each(|part| now.read(part));
            assert!(now.http2 && now.head.is_none(), "{size}");
            now.read(b"frames");
            assert!(now.head.is_none(), "its requests are not counted by bytes");
        }
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
            b"P",
        ] {
            let mut now = now();
            now.read(other);
            assert!(!now.http2 && now.head.is_some());
        }
    }

    #[test]
    fn a_head_has_its_time_and_a_rest_has_another() {
        let mut limits = RequestLimits::default();
        let past = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        let mut now = now();
        now.last = past(limits.idle_timeout.as_secs() - 5).unwrap_or(now.last);
        assert_eq!(now.late(&limits, false), None, "it rests");
        assert_eq!(now.late(&limits, true), Some(Late::Rest), "others wait");
        limits.idle_timeout = Duration::ZERO;
        assert_eq!(now.late(&limits, false), Some(Late::Rest));
        now.read(b"GE");
        assert_eq!(now.late(&limits, false), None, "it has begun");
        limits.head_timeout = Duration::ZERO;
        assert_eq!(now.late(&limits, false), Some(Late::Head));
        now.answering = 1;
        assert_eq!(now.late(&limits, false), None, "it is being answered");
    }

    #[test]
    fn only_what_hyper_says_without_a_word_is_put_into_words() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let words = String::from_utf8(in_words(bare).unwrap()).unwrap();
        assert!(words.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(
            words.contains("application/json") && words.ends_with("fields\"}"),
            "{words}"
        );
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 14\r\n\r\n{\"error\":\"no\"}",
            b"{\"error\": \"HTTP/1.1 400 \"}",
            b"\xff",
            b"",
        ] {
            assert_eq!(in_words(other), None);
        }
    }
}
