//! An HTTP client that sends exactly the bytes it is given.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::server::LONG;

/// An answer, and how it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// What it says is wrong, as every answer must that is none.
    pub fn error(&self) -> String {
        assert!(self.status >= 400, "{} {}", self.status, self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{}",
            self.head
        );
        let json = self.json();
        json["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{json}"))
            .to_owned()
    }

    /// Whether the connection ends with it.
    pub fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

pub struct Client {
    stream: TcpStream,
    /// Read, but not yet part of an answer.
    rest: Vec<u8>,
}

impl Client {
    pub fn connect(address: &str) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub fn try_connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        let rest = Vec::new();
        Ok(Self { stream, rest })
    }

    /// Waits this long for an answer, not longer.
    pub fn patience(&self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more comes, and still listens.
    pub fn no_more(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next answer; none if the connection is closed without one.
    pub fn receive(&mut self) -> io::Result<Option<Answer>> {
        loop {
            let Some(head) = self.until_blank_line()? else {
                return Ok(None);
            };
            let status = head.get(9..12).and_then(|text| text.parse().ok());
            let status = status.ok_or_else(|| io::Error::other(format!("no answer: {head:?}")))?;
            let mut answer = Answer {
                status,
                head,
                body: Vec::new(),
            };
            if status == 100 {
                continue;
            }
            let length = answer
                .header("content-length")
                .and_then(|text| text.parse().ok());
            let length =
                length.ok_or_else(|| io::Error::other(format!("no length: {}", answer.head)))?;
            while self.rest.len() < length {
                if !self.more()? {
                    return Err(io::Error::other("half an answer"));
                }
            }
            answer.body = self.rest.drain(..length).collect();
            return Ok(Some(answer));
        }
    }

    fn until_blank_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let end = self.rest.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.rest.drain(..end + 4).collect::<Vec<u8>>();
                return Ok(Some(String::from_utf8_lossy(&head).trim_end().to_owned()));
            }
            if !self.more()? {
                return match self.rest.is_empty() {
                    true => Ok(None),
                    false => Err(io::Error::other("half an answer")),
                };
            }
        }
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 1 << 14];
        let count = self.stream.read(&mut bytes)?;
        self.rest.extend_from_slice(&bytes[..count]);
        Ok(count > 0)
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: &[u8]) -> Answer {
        self.send(request).unwrap();
        let answer = self.receive();
        answer.unwrap().unwrap_or_else(|| {
            let head = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
            panic!("no answer to {head:?}")
        })
    }
}

pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").into_bytes()
}

/// A request with a body, whose length is said unless the fields say something about it.
pub fn post(path: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    let says = |name: &str| fields.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    if !says("content-length") && !says("transfer-encoding") {
        head += &format!("content-length: {}\r\n", body.len());
    }
    head += "\r\n";
    [head.as_bytes(), body].concat()
}

/// A form with these files.
pub fn form(files: &[&[u8]]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let head = format!(
            "--edge\r\ncontent-disposition: form-data; name=\"image\"; filename=\"{at}.png\"\r\ncontent-type: image/png\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    ("multipart/form-data; boundary=edge".into(), body)
}

/// An inference request with this JSON before binary data.
pub fn infer(json: &str, binary: &[u8]) -> Vec<u8> {
    let length = json.len().to_string();
    let fields = [("inference-header-content-length", length.as_str())];
    post(
        "/v2/models/demo/infer",
        &fields,
        &[json.as_bytes(), binary].concat(),
    )
}

/// One element of BYTES in the protocol's binary form.
pub fn element(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_le_bytes(), bytes].concat()
}

impl Client {
    /// Sends bytes and reads until these come or nothing more does: for protocols that have no answers as above.
    pub fn until(&mut self, bytes: &[u8], end: &[u8]) -> Vec<u8> {
        let _ = self.send(bytes);
        self.patience(Duration::from_secs(2));
        while !self.rest.windows(end.len()).any(|some| some == end) {
            if !matches!(self.more(), Ok(true)) {
                break;
            }
        }
        std::mem::take(&mut self.rest)
    }
}
