//! Where a checkpoint's bytes live: a mapped file, a static slice, or a vector.

use std::borrow::Cow;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;

use crate::error::{Error, Result};

/// Read-only bytes that stay where they are for as long as a checkpoint lives.
#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(memmap2::Mmap),
    Memory(Cow<'static, [u8]>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Memory(bytes) => bytes,
        }
    }
}

impl Bytes {
    #[allow(unsafe_code)] // one of the crate's two unsafe blocks
    /// Maps `file`. An empty file gives an empty slice, as it cannot be mapped.
    pub(crate) fn map(file: &File, path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_path_buf(),
            source,
        };
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            let problem = "not a regular file".to_string();
            return Err(Error::Format {
                origin: path.display().to_string(),
                problem,
            });
        }
        if meta.len() == 0 {
            return Ok(Bytes::Memory(Cow::Borrowed(&[])));
        }
        // SAFETY: the map is private to this process and only ever read as plain bytes (every bit
        // pattern is a valid u8), copied out before use. What remains is the caveat of every mapped
        // file: another process truncating it while it is read ends this one with SIGBUS. The hub
        // never writes to a finished blob in place, and checkpoints are read once and unmapped.
        let map = unsafe { memmap2::Mmap::map(file) }.map_err(io)?;
        Ok(Bytes::Mapped(map))
    }

    /// Takes a range of a mapped file out of this process's memory; read again, it comes from the
    /// file again. Without effect on anything else.
    #[allow(unsafe_code)] // the other one
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let (Bytes::Mapped(map), Some(_)) = (self, self.get(range.clone())) {
            let forget = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: what makes this advice unsafe is that pages may lose what was written to them.
            // Nothing is ever written to this map: it is read-only and of a file.
            let advised = unsafe { map.unchecked_advise_range(forget, range.start, range.len()) };
            advised.unwrap_or_default(); // advice; refused, the pages stay until the map goes
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_was_released_is_read_again() {
        let wanted: Vec<u8> = (0..1_000_003u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&wanted).unwrap();
        let bytes = Bytes::map(file.as_file(), file.path()).unwrap();
        for range in [0..1_000_003, 4095..4097, 5000..900_001, 7..7, 0..2_000_000] {
            bytes.release(range);
            assert!(*bytes == *wanted);
        }
        let memory = Bytes::Memory(Cow::Owned(wanted.clone()));
        memory.release(0..wanted.len());
        assert!(*memory == *wanted);
    }
}
