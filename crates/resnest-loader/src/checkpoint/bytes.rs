//! Where a checkpoint's bytes live: a mapped file, a static slice, or a vector.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Deref;
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
    #[allow(unsafe_code)] // the crate's only unsafe block
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
}
