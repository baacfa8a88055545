//! From an address to a verified blob under its final name.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, StatusCode, Version};
use ureq::{Body, BodyReader};

use super::http::{Client, Failure, shown, text};
use super::lock::{BlobLock, acquire};
use super::metadata::{Metadata, ask, protocol, redirect_target, refusal};
use super::page;
use super::retry::{Next, Retries, overloaded};
use super::store::sync_directory_of;
use super::verify::{Mismatch, is_hash, verify};
use crate::hub::error::{HubError, io_error, seconds};
use crate::hub::layout::Layout;
use crate::hub::names::FileRef;
use crate::hub::options::HubOptions;

const MAX_REDIRECTS: usize = 10;
const BUFFER: usize = 1 << 18;
/// An attempt that brought this much counts as progress: earlier failures are forgotten.
const PROGRESS: u64 = 1 << 16;

/// The download of one blob.
pub(super) struct Download<'a> {
    pub client: &'a Client,
    pub options: &'a HubOptions,
    pub file: &'a FileRef,
    pub metadata: Metadata,
    /// Whether the last answer called its body a page.
    pub announced_page: bool,
}

/// Slower than this over a whole read timeout, in bytes a second, counts as silence: a server
/// that sends a byte now and then must not hold a download for ever.
const LEAST_RATE: f64 = 1024.0;

/// How a single attempt at the rest of the body ended short of it.
enum Stop {
    Failed(Failure),
    /// Not the file's bytes: nothing of them may stay.
    Wrong(Mismatch),
    /// A CDN's signed address no longer works: ask the hub for another.
    Expired(StatusCode),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Download<'_> {
    /// Makes sure that the blob is in the cache and right; returns whether it had to be fetched.
    pub(super) fn ensure(mut self, layout: &Layout<'_>) -> Result<bool, HubError> {
        let etag = self.metadata.etag.clone();
        let blob = layout.blob(&etag);
        layout.prepare(&etag)?;
        let lock_path = layout.lock(&etag);
        let lock = acquire(&lock_path, &blob, self.options.lock_timeout, || {
            let message = format!("{}: waiting for another process's download", self.file);
            self.options.warn(&message);
        })?;
        if self.is_whole(&blob) {
            return Ok(false);
        }
        let partial = partial_path(&blob, &lock);
        let fetched = self.fetch(&partial);
        if let Err(error) = &fetched {
            let useless = matches!(error, HubError::Page { .. } | HubError::Unverifiable { .. });
            // Named after this process: nobody could ever go on from it.
            if useless || matches!(lock, BlobLock::Unsupported) {
                let _ = fs::remove_file(&partial);
            }
        }
        fetched?;
        fs::rename(&partial, &blob)
            .map_err(|error| io_error(&blob, "giving the download its name", error))?;
        sync_directory_of(&blob);
        Ok(true)
    }

    /// Whether `path` is there with the announced size; the hash was checked when it was made.
    fn is_whole(&self, path: &Path) -> bool {
        let Ok(found) = fs::metadata(path) else {
            return false;
        };
        let whole = self.metadata.size.is_none_or(|size| size == found.len());
        if !whole {
            self.options.warn(&format!(
                "{}: the cached copy has {} bytes instead of {}; fetching it again",
                self.file,
                found.len(),
                self.expected()
            ));
        }
        whole
    }

    /// Brings the partial file to its verified whole. Wrong bytes are thrown away and get a
    /// second chance, as the first part may have come from an earlier, damaged download.
    fn fetch(&mut self, partial: &Path) -> Result<(), HubError> {
        let mut chances = 2;
        loop {
            let mut file = open_partial(partial)?;
            let mismatch = match self.transfer(&mut file, partial)? {
                Some(mismatch) => mismatch,
                None => match self.check(&mut file, partial)? {
                    None => {
                        return file
                            .sync_all()
                            .map_err(|error| io_error(partial, "writing", error));
                    }
                    Some(mismatch) => mismatch,
                },
            };
            drop(file);
            let _ = fs::remove_file(partial);
            chances -= 1;
            if chances == 0 {
                return Err(self.corrupt(mismatch));
            }
            self.options.warn(&format!(
                "{}: wrong bytes ({} {} instead of {}); fetching all of it again",
                self.file, mismatch.check, mismatch.got, mismatch.expected
            ));
        }
    }

    /// Compares the received bytes with the hub's size and hash, or, where it sent no hash, with the kind of
    /// file that the name ends in; `Some` when they are not the file's.
    fn check(&self, file: &mut File, partial: &Path) -> Result<Option<Mismatch>, HubError> {
        let failed = |error| io_error(partial, "reading back the download", error);
        let checked = verify(file, &self.metadata.etag, self.metadata.size).map_err(failed)?;
        if let Err(mut mismatch) = checked {
            mismatch.got.push_str(page::note(file));
            return Ok(Some(mismatch));
        }
        if is_hash(&self.metadata.etag) {
            return Ok(None);
        }
        let name = self.file.filename();
        match page::mistaken(file, name, self.announced_page).map_err(failed)? {
            None => Ok(None),
            Some(what) => Err(HubError::Page {
                file: Box::new(self.file.clone()),
                url: shown(&self.metadata.location),
                what,
            }),
        }
    }

    /// Receives what is missing, attempt after attempt; `Some` when the bytes cannot be right.
    fn transfer(&mut self, file: &mut File, partial: &Path) -> Result<Option<Mismatch>, HubError> {
        let mut retries = Retries::new(self.options, self.options.retries);
        loop {
            let start = length(file, partial)?;
            if self.metadata.size == Some(start) {
                return Ok(None);
            }
            self.progress_start(start);
            let stopped = self.attempt(file, partial, start);
            self.progress_finish();
            let stop = match stopped {
                Ok(()) => return Ok(None),
                Err(Stop::Wrong(mismatch)) => return Ok(Some(mismatch)),
                Err(stop) => stop,
            };
            let got = length(file, partial)?;
            if got >= start + PROGRESS {
                retries.progressed();
            }
            self.after(stop, got, &mut retries)?;
        }
    }

    /// Waits for another attempt if `stop` allows one.
    fn after(&mut self, stop: Stop, got: u64, retries: &mut Retries<'_>) -> Result<(), HubError> {
        let url = shown(&self.metadata.location);
        let failure = match stop {
            Stop::Failed(failure @ Failure::Fatal(_)) => {
                return Err(failure.into_error(&url, retries.attempts() + 1));
            }
            Stop::Failed(failure) => failure,
            Stop::Expired(status) => Failure::Transient(format!("status {status} from {url}")),
            Stop::Wrong(mismatch) => return Err(self.corrupt(mismatch)),
        };
        let pause = match retries.next(&failure) {
            Next::After(pause) => pause,
            Next::Overloaded(asked) => return Err(overloaded(&url, &failure, asked)),
            Next::GiveUp => {
                return Err(HubError::Cut {
                    file: Box::new(self.file.clone()),
                    got,
                    expected: self.expected(),
                    attempts: retries.attempts(),
                    cause: failure.to_string(),
                });
            }
        };
        self.options.warn(&format!(
            "{}: stopped at {got} of {} bytes ({failure}); trying again in {}",
            self.file,
            self.expected(),
            seconds(pause)
        ));
        thread::sleep(pause);
        self.renew_location()
    }

    /// Signed addresses run out: every further attempt starts from a fresh one when it can.
    fn renew_location(&mut self) -> Result<(), HubError> {
        if self.client.is_endpoint(&self.metadata.location) {
            return Ok(());
        }
        match ask(self.client, self.file, self.options) {
            Ok(now) if now.etag == self.metadata.etag => {
                self.metadata.location = now.location;
                Ok(())
            }
            Ok(now) => Err(HubError::Protocol {
                url: shown(&now.location),
                problem: format!("{} changed during its download; run again", self.file),
            }),
            // The hub may be away for a moment; the old address may still do.
            Err(_) => Ok(()),
        }
    }

    /// One request, and its body appended to `file`, which holds `start` bytes.
    fn attempt(&mut self, file: &mut File, partial: &Path, start: u64) -> Result<(), Stop> {
        let response = self.request(start)?;
        self.announced_page = page::is_announced(response.headers());
        self.check_end(&response)?;
        let from = match response.status().as_u16() {
            206 => self.check_range(response.headers(), start)?,
            _ => 0,
        };
        if from != start {
            // The server ignored the range and sends the whole.
            self.progress_start(0);
        }
        let seek = |file: &mut File| -> std::io::Result<()> {
            if file.metadata()?.len() != from {
                file.set_len(from)?;
            }
            file.seek(SeekFrom::Start(from)).map(drop)
        };
        seek(file).map_err(|error| fatal_io(partial, error))?;
        self.check_length(response.headers(), from)?;
        self.receive(response.into_body().into_reader(), file, partial, from)
    }

    /// Sends the request along its redirects, the token only ever to the endpoint.
    fn request(&self, start: u64) -> Result<Response<Body>, Stop> {
        let mut url = self.metadata.location.clone();
        for _ in 0..MAX_REDIRECTS {
            let response = self.client.get(&url, start, self.options)?;
            let status = response.status();
            match status.as_u16() {
                200 | 206 => return Ok(response),
                416 => return Err(self.range_refused(start)),
                300..=399 => url = redirect_target(&url, response.headers())?,
                400..=499 if !self.client.is_endpoint(&url) && !is_busy(status) => {
                    return Err(Stop::Expired(status));
                }
                _ => {
                    let headers = response.headers();
                    let refused =
                        refusal(self.client, self.file, self.options, &url, status, headers);
                    return Err(refused.failure.into());
                }
            }
        }
        Err(protocol(&url, format!("more than {MAX_REDIRECTS} redirects")).into())
    }

    /// 416: the partial file does not fit the server's.
    fn range_refused(&self, start: u64) -> Stop {
        Stop::Wrong(Mismatch {
            check: "size",
            expected: self.expected(),
            got: format!("a server without bytes from {start} on"),
        })
    }

    /// The offset that a 206 starts at, which must be the one asked for.
    fn check_range(&self, headers: &HeaderMap, start: u64) -> Result<u64, Stop> {
        let stated = text(headers, "content-range").unwrap_or_default();
        let parsed = stated.strip_prefix("bytes ").and_then(|range| {
            let (span, total) = range.split_once('/')?;
            let first = span.split_once('-')?.0.trim().parse::<u64>().ok()?;
            Some((first, total.trim().parse::<u64>().ok()))
        });
        match parsed {
            Some((first, total)) if first == start && (total.is_none() || self.fits(total)) => {
                Ok(start)
            }
            _ => Err(Stop::Wrong(Mismatch {
                check: "range",
                expected: format!("bytes {start}-/{}", self.expected()),
                got: format!("{stated:?}"),
            })),
        }
    }

    fn fits(&self, total: Option<u64>) -> bool {
        self.metadata.size.is_none() || self.metadata.size == total
    }

    /// A body announced with another length (a portal's login page) is not read at all.
    fn check_length(&self, headers: &HeaderMap, from: u64) -> Result<(), Stop> {
        let announced = text(headers, "content-length").and_then(|value| value.parse().ok());
        let (Some(size), Some(length)) = (self.metadata.size, announced) else {
            return Ok(());
        };
        if from.checked_add(length) == Some(size) {
            return Ok(());
        }
        Err(Stop::Wrong(Mismatch {
            check: "size",
            expected: size.to_string(),
            got: match page::is_announced(headers) {
                true => format!("an HTML page of {length} (the log-in page of this network?)"),
                false => from.saturating_add(length).to_string(),
            },
        }))
    }

    /// A body that ends with its connection ends the same way when it is cut: without length and hash
    /// the difference does not show.
    fn check_end(&self, response: &Response<Body>) -> Result<(), Stop> {
        let stated = |name| text(response.headers(), name);
        let chunked = response.version() != Version::HTTP_10
            && stated("transfer-encoding").is_some_and(|c| c.eq_ignore_ascii_case("chunked"));
        let known = self.metadata.size.is_some() || is_hash(&self.metadata.etag);
        if known || chunked || stated("content-length").is_some() {
            return Ok(());
        }
        Err(Stop::Failed(Failure::Fatal(HubError::Unverifiable {
            file: Box::new(self.file.clone()),
            url: shown(&self.metadata.location),
        })))
    }

    fn receive(
        &self,
        mut body: BodyReader<'static>,
        file: &mut File,
        partial: &Path,
        from: u64,
    ) -> Result<(), Stop> {
        let limit = self.metadata.size.unwrap_or(self.options.max_bytes);
        let mut buffer = vec![0; BUFFER];
        let mut got = from;
        let mut pace = Pace::new(got);
        loop {
            let count = body
                .read(&mut buffer)
                .map_err(|error| Stop::Failed(Failure::Transient(error.to_string())))?;
            let chunk = buffer.get(..count).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            got += count as u64;
            if got > limit {
                return Err(self.too_much(got));
            }
            file.write_all(chunk)
                .map_err(|error| fatal_io(partial, error))?;
            if let Some(progress) = &self.options.progress {
                progress.advance(count as u64);
            }
            pace.check(got, self.options.read_timeout)?;
        }
        match self.metadata.size {
            Some(size) if got < size => {
                let cause = "the connection was closed early".to_owned();
                Err(Failure::Transient(cause).into())
            }
            _ => Ok(()),
        }
    }

    fn too_much(&self, got: u64) -> Stop {
        match self.metadata.size {
            Some(size) => Stop::Wrong(Mismatch {
                check: "size",
                expected: size.to_string(),
                got: format!("at least {got}"),
            }),
            None => Stop::Failed(Failure::Fatal(HubError::TooLarge {
                file: Box::new(self.file.clone()),
                size: got,
                limit: self.options.max_bytes,
            })),
        }
    }

    fn corrupt(&self, mismatch: Mismatch) -> HubError {
        HubError::Corrupt {
            file: Box::new(self.file.clone()),
            check: mismatch.check,
            expected: mismatch.expected,
            got: mismatch.got,
        }
    }

    fn expected(&self) -> String {
        let size = self.metadata.size;
        size.map_or_else(|| "?".to_owned(), |size| size.to_string())
    }

    fn progress_start(&self, already: u64) {
        if let Some(progress) = &self.options.progress {
            progress.start(self.file.filename(), self.metadata.size, already);
        }
    }

    fn progress_finish(&self) {
        if let Some(progress) = &self.options.progress {
            progress.finish();
        }
    }
}

/// Watches that bytes do not merely trickle.
struct Pace {
    since: Instant,
    at: u64,
}

impl Pace {
    fn new(at: u64) -> Self {
        Self {
            since: Instant::now(),
            at,
        }
    }

    /// Looks at the rate once a `window`.
    fn check(&mut self, got: u64, window: Duration) -> Result<(), Failure> {
        let elapsed = self.since.elapsed();
        if elapsed < window {
            return Ok(());
        }
        let rate = (got - self.at) as f64 / elapsed.as_secs_f64();
        if rate < LEAST_RATE {
            let cause = format!("only {rate:.0} bytes a second for {elapsed:.1?}");
            return Err(Failure::Transient(cause));
        }
        *self = Self::new(got);
        Ok(())
    }
}

/// `<etag>.incomplete`, or one of this process's own where locks do not exclude others.
fn partial_path(blob: &Path, lock: &BlobLock) -> PathBuf {
    let mut name = blob.file_name().unwrap_or_default().to_owned();
    if matches!(lock, BlobLock::Unsupported) {
        name.push(format!(".{}", std::process::id()));
    }
    name.push(".incomplete");
    blob.with_file_name(name)
}

fn open_partial(path: &Path) -> Result<File, HubError> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| io_error(path, "opening the partial download", error))
}

fn length(file: &File, path: &Path) -> Result<u64, HubError> {
    let metadata = file.metadata();
    let found = metadata.map_err(|error| io_error(path, "reading its length", error))?;
    Ok(found.len())
}

fn fatal_io(path: &Path, error: std::io::Error) -> Stop {
    Stop::Failed(Failure::Fatal(io_error(path, "writing", error)))
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429)
}
