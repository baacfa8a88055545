//! One HTTP/1.1 connection that is kept open: the least a client can do, so that what is measured is the server.
//!
//! Shared by `load.rs` and `library.rs`. Requests are bytes made beforehand; answers must have a `Content-Length`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than any server here takes for one answer, so that a dead one ends the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where requests go: `http://HOST:PORT/PATH`.
#[derive(Clone)]
pub struct Target {
    pub authority: String,
    pub path: String,
}

impl Target {
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| format!("{url}: must begin with http://"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self {
            authority: authority.into(),
            path: format!("/{path}"),
        })
    }

    /// A whole request, head and body; `extra` are header lines, each with its line end.
    pub fn request(&self, body: &[u8], extra: &str) -> Vec<u8> {
        let mut bytes = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n{extra}\r\n",
            self.path,
            self.authority,
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

/// A connection that opens itself when it is needed.
pub struct Connection {
    target: Target,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn new(target: Target) -> Self {
        Self {
            target,
            stream: None,
            buffer: Vec::with_capacity(16 << 10),
        }
    }

    /// Sends `request` and reads the whole answer; its status. A connection that the server closed while it was idle is
    /// opened anew once, as every client does.
    pub fn send(&mut self, request: &[u8]) -> io::Result<u16> {
        let fresh = self.stream.is_none();
        let outcome = self.attempt(request);
        match outcome {
            Err(error) if !fresh && is_closed(&error) && self.buffer.is_empty() => {
                self.stream = None;
                self.attempt(request)
            }
            other => other,
        }
    }

    fn attempt(&mut self, request: &[u8]) -> io::Result<u16> {
        self.buffer.clear();
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.target.authority)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            self.stream = Some(stream);
        }
        let outcome = self.exchange(request);
        if !matches!(outcome, Ok((_, true))) {
            self.stream = None;
        }
        outcome.map(|(status, _)| status)
    }

    /// The status, and whether the connection stays open.
    fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, bool)> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        stream.write_all(request)?;
        let mut chunk = [0; 8192];
        loop {
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&chunk[..read]);
            if let Some(head) = Head::parse(&self.buffer)?
                && self.buffer.len() >= head.length + head.body
            {
                return Ok((head.status, head.keep_alive));
            }
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

/// What of an answer's head matters here.
struct Head {
    status: u16,
    /// Bytes of the head with its empty line.
    length: usize,
    /// Bytes of the body.
    body: usize,
    keep_alive: bool,
}

impl Head {
    /// `None` while the head is not complete.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        let status = text.get(9..12).and_then(|digits| digits.parse().ok());
        let body = value("content-length:").and_then(|digits| digits.parse().ok());
        let (Some(status), Some(body)) = (status, body) else {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "an answer without status or content-length",
            ));
        };
        Ok(Some(Self {
            status,
            length: end + 4,
            body,
            keep_alive: value("connection:") != Some("close"),
        }))
    }
}
