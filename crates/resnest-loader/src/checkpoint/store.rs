//! Where a checkpoint's bytes live: in memory, or in a file of which each piece is read when it is asked for.
//!
//! A file is not mapped. Tensors are copied anyway, and a mapped file that another process cuts short
//! while it is read ends this one with SIGBUS; a read that finds too little is an error like any other.

use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};

/// Bytes read at once: they are converted while they are in the cache. A multiple of every element's size.
pub(crate) const PIECE: usize = 64 << 10;

/// Read-only bytes, and the name that messages have for them.
#[derive(Debug)]
pub(crate) struct Store {
    origin: String,
    length: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    File {
        file: File,
        path: PathBuf,
        /// When the file was last written to, where the system records it.
        modified: Option<SystemTime>,
    },
    Memory(Cow<'static, [u8]>),
}

impl Store {
    /// Opens a regular file; reads nothing yet.
    pub(crate) fn open(path: &Path, origin: &str) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_path_buf(),
            source,
        };
        // asked first, as opening a pipe would wait for somebody to write into it
        check_regular(&std::fs::metadata(path).map_err(io)?, origin)?;
        let file = File::open(path).map_err(io)?;
        let found = file.metadata().map_err(io)?;
        check_regular(&found, origin)?;
        let length = usize::try_from(found.len()).map_err(|_| Error::Format {
            origin: origin.into(),
            problem: format!("{} bytes are too many for this machine", found.len()),
        })?;
        Ok(Self {
            origin: origin.into(),
            length,
            place: Place::File {
                file,
                path: path.to_path_buf(),
                modified: found.modified().ok(),
            },
        })
    }

    pub(crate) fn memory(bytes: Cow<'static, [u8]>, origin: &str) -> Self {
        Self {
            origin: origin.into(),
            length: bytes.len(),
            place: Place::Memory(bytes),
        }
    }

    /// The file, or the name given to the bytes.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Bytes in all, as they were when the file was opened.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// What tells the file from others, and from itself once somebody has written to it; `None` of memory, and where the
    /// system does not keep such records.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        match &self.place {
            Place::File { file, .. } => Stamp::of(&file.metadata().ok()?),
            Place::Memory(_) => None,
        }
    }

    /// The first bytes, `most` of them if there are so many.
    pub(crate) fn head(&self, most: usize) -> Result<Cow<'_, [u8]>> {
        self.read(0..most.min(self.length), "its beginning")
    }

    /// A range that is needed as a whole; `what` names it in messages.
    pub(crate) fn read(&self, range: Range<usize>, what: &str) -> Result<Cow<'_, [u8]>> {
        self.check_inside(&range, what)?;
        match &self.place {
            Place::Memory(bytes) => Ok(Cow::Borrowed(bytes.get(range).unwrap_or_default())),
            Place::File { .. } => {
                let mut all = self.reserved(range.len(), what)?;
                self.pieces(range, what, |piece| {
                    all.extend_from_slice(piece);
                    Ok(())
                })?;
                Ok(Cow::Owned(all))
            }
        }
    }

    /// Hands out a range in order, piece by piece; every piece but the last holds whole elements of 1, 2, 4
    /// or 8 bytes.
    pub(crate) fn pieces(
        &self,
        range: Range<usize>,
        what: &str,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.check_inside(&range, what)?;
        if let Place::Memory(bytes) = &self.place {
            let bytes = bytes.get(range).unwrap_or_default();
            return bytes.chunks(PIECE).try_for_each(each);
        }
        let mut buffer = vec![0; PIECE.min(range.len())];
        let mut at = range.start;
        while at < range.end {
            let count = buffer.len().min(range.end - at);
            let piece = buffer.get_mut(..count).unwrap_or_default();
            self.read_into(at, piece, what)?;
            each(piece)?;
            at += count;
        }
        Ok(())
    }

    /// Fills `buffer` from the byte `at` on; afterwards a file must still be the one that was opened.
    pub(crate) fn read_into(&self, at: usize, buffer: &mut [u8], what: &str) -> Result<()> {
        let range = at..at.saturating_add(buffer.len());
        self.check_inside(&range, what)?;
        match &self.place {
            Place::Memory(bytes) => {
                buffer.copy_from_slice(bytes.get(range).unwrap_or_default());
                Ok(())
            }
            Place::File {
                file,
                path,
                modified,
            } => {
                read_exact_at(file, buffer, at as u64)
                    .map_err(|error| self.failed(path, what, error))?;
                let now = file.metadata().map_err(|source| Error::Io {
                    path: path.clone(),
                    source,
                })?;
                self.check_same(&now, *modified, what)
            }
        }
    }

    fn check_same(&self, now: &Metadata, modified: Option<SystemTime>, what: &str) -> Result<()> {
        if now.len() != self.length as u64 {
            let (was, is) = (self.length, now.len());
            return Err(self.changed(what, format!("its length went from {was} to {is} bytes")));
        }
        if now.modified().ok() != modified {
            return Err(self.changed(what, "it was written to".into()));
        }
        Ok(())
    }

    /// Room for so many values, or an error instead of the end of the process.
    pub(crate) fn reserved<T>(&self, count: usize, what: &str) -> Result<Vec<T>> {
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| Error::Tensor {
            origin: self.origin.clone(),
            tensor: what.into(),
            problem: format!(
                "no memory for its {} bytes",
                count.saturating_mul(size_of::<T>())
            ),
        })?;
        Ok(values)
    }

    fn check_inside(&self, range: &Range<usize>, what: &str) -> Result<()> {
        if range.start <= range.end && range.end <= self.length {
            return Ok(());
        }
        Err(Error::Tensor {
            origin: self.origin.clone(),
            tensor: what.into(),
            problem: "its bytes lie outside the file".into(),
        })
    }

    fn failed(&self, path: &Path, what: &str, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            let was = self.length;
            return self.changed(what, format!("it was cut short; it had {was} bytes"));
        }
        Error::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    fn changed(&self, what: &str, how: String) -> Error {
        Error::Changed {
            origin: self.origin.clone(),
            what: what.into(),
            how,
        }
    }

    /// The bytes as the zip reader wants them.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor { store: self, at: 0 }
    }
}

/// A file's identity: device, inode, length, and the times of its last writing and its last change.
#[derive(Debug)]
pub(crate) struct Stamp {
    pub(crate) text: String,
    /// Whether the last change is so long ago that another one would have a later time.
    pub(crate) settled: bool,
}

impl Stamp {
    #[cfg(unix)]
    pub(crate) fn of(found: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let (seconds, nanoseconds) = (found.ctime(), found.ctime_nsec());
        let text = format!(
            "{} {} {} {}.{:09} {seconds}.{nanoseconds:09}",
            found.dev(),
            found.ino(),
            found.len(),
            found.mtime(),
            found.mtime_nsec(),
        );
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()?;
        let now = i64::try_from(now.as_secs()).ok()?;
        let settled = seconds.checked_add(2).is_some_and(|settled| settled < now);
        Some(Self { text, settled })
    }

    #[cfg(not(unix))]
    pub(crate) fn of(_: &Metadata) -> Option<Self> {
        None
    }
}

fn check_regular(found: &Metadata, origin: &str) -> Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let problem = match found.is_dir() {
        true => "a folder; local-dir:PATH is the way to name one",
        false => "not a regular file",
    };
    Err(Error::Format {
        origin: origin.into(),
        problem: problem.into(),
    })
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = buffer.get_mut(count..).unwrap_or_default();
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A reading position in a store.
pub(crate) struct Cursor<'a> {
    store: &'a Store,
    at: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = (self.store.length as u64).saturating_sub(self.at);
        let count = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(buffer) = buffer.get_mut(..count).filter(|b| !b.is_empty()) else {
            return Ok(0);
        };
        match &self.store.place {
            Place::File { file, .. } => read_exact_at(file, buffer, self.at)?,
            Place::Memory(bytes) => {
                // no further than the bytes, whose length fits a usize
                let start = self.at as usize;
                buffer.copy_from_slice(bytes.get(start..start + count).unwrap_or_default());
            }
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => (self.store.length as u64).checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use super::*;

    /// A file of several pieces and the same bytes in memory.
    fn both() -> (tempfile::NamedTempFile, Vec<u8>, [Store; 2]) {
        let wanted: Vec<u8> = (0..1_000_003u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&wanted).unwrap();
        let stores = [
            Store::open(file.path(), "file").unwrap(),
            Store::memory(wanted.clone().into(), "memory"),
        ];
        (file, wanted, stores)
    }

    #[test]
    fn a_file_and_memory_give_the_same_bytes() {
        let (_file, wanted, stores) = both();
        for store in &stores {
            assert_eq!(store.len(), wanted.len());
            for range in [0..1_000_003, 0..0, 65_535..65_537, 7..900_001] {
                let (mut all, mut sizes) = (Vec::new(), Vec::new());
                let take = |piece: &[u8]| {
                    all.extend_from_slice(piece);
                    sizes.push(piece.len());
                    Ok(())
                };
                store.pieces(range.clone(), "x", take).unwrap();
                assert!(all == wanted[range.clone()]);
                assert!(sizes.iter().rev().skip(1).all(|size| size % 8 == 0));
                assert!(*store.read(range.clone(), "x").unwrap() == wanted[range]);
            }
            let error = store.read(1_000_000..1_000_004, "x").unwrap_err();
            assert!(error.to_string().contains("tensor x"), "{error}");
        }
    }

    #[test]
    fn a_cursor_reads_like_one_over_a_slice() {
        let (_file, wanted, stores) = both();
        for store in &stores {
            let mut ours = BufReader::with_capacity(100, store.cursor());
            let mut theirs = io::Cursor::new(&wanted[..]);
            for to in [
                SeekFrom::Start(999_900),
                SeekFrom::End(-5),
                SeekFrom::Current(-300_000),
                SeekFrom::Start(2_000_000),
                SeekFrom::End(-2_000_000),
                SeekFrom::End(1),
            ] {
                assert_eq!(ours.seek(to).ok(), theirs.seek(to).ok(), "{to:?}");
                let (mut got, mut expected) = (Vec::new(), Vec::new());
                (&mut ours).take(777).read_to_end(&mut got).unwrap();
                (&mut theirs).take(777).read_to_end(&mut expected).unwrap();
                assert_eq!(got, expected, "{to:?}");
            }
            let mut all = Vec::new();
            store.cursor().read_to_end(&mut all).unwrap();
            assert!(all == wanted);
        }
    }

    #[test]
    fn a_file_that_changes_is_an_error_and_not_a_signal() {
        let (file, _, [store, _]) = both();
        file.as_file().set_len(500_000).unwrap();
        let error = store.read(490_000..510_000, "conv1.weight").unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Changed { .. }), "{text}");
        assert!(
            text.contains("cut short") && text.contains("conv1.weight"),
            "{text}"
        );
        // what is still there belongs to another file than the one that was opened
        let error = store.read(0..10, "fc.bias").unwrap_err();
        assert!(error.to_string().contains("to 500000 bytes"), "{error}");

        let (file, wanted, [store, _]) = both();
        std::thread::sleep(std::time::Duration::from_millis(30));
        std::fs::write(file.path(), &wanted).unwrap();
        let error = store.read(0..10, "fc.bias").unwrap_err();
        assert!(error.to_string().contains("written to"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let error = Store::open(folder.path(), "x").unwrap_err();
        assert!(error.to_string().contains("local-dir:"), "{error}");
    }
}
