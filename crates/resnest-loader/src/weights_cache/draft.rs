//! A file of packed weights that is being made.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use resnest_model::{MappedLayer, PackedConv, PackedStore};
use twox_hash::XxHash3_64;

use super::Key;
use super::folder::Folder;
use super::format::{self, HEADER, Layer};

/// Gets layers as they are packed. Until it is [finished](Self::finish) it has another name than what others look for.
#[derive(Debug)]
pub(super) struct Draft {
    key: String,
    /// Where it is, and where it will be.
    part: PathBuf,
    whole: PathBuf,
    writing: Mutex<Writing>,
}

/// Bytes written at once. File systems that have large folios (ext4 since Linux 6.16, XFS) then keep the file in huge
/// pages, and that is how everybody maps it.
const BLOCK: usize = 8 << 20;

#[derive(Debug)]
struct Writing {
    out: Blocks,
    layers: Vec<Layer>,
    /// Where the next layer begins.
    at: usize,
    /// What went wrong first.
    failed: Option<io::Error>,
}

impl Draft {
    /// # Errors
    /// Why the file cannot be made.
    pub(super) fn new(folder: &Folder, key: &Key) -> Result<Arc<Self>, String> {
        let part = folder.part(&key.name);
        let file = folder
            .create(&part)
            .map_err(|error| failed(&part, &error))?;
        let mut pending = Vec::with_capacity(BLOCK);
        pending.resize(HEADER, 0);
        Ok(Arc::new(Self {
            key: key.text.clone(),
            whole: folder.entry(&key.name),
            part,
            writing: Mutex::new(Writing {
                out: Blocks { file, pending },
                layers: Vec::new(),
                at: HEADER,
                failed: None,
            }),
        }))
    }

    /// Writes what is around the layers and gives the file its name. It is not waited for until all is on the disk: a file
    /// that is not whole after a crash has other checksums.
    ///
    /// # Errors
    /// What kept it, or any layer, from being written.
    pub(super) fn finish(&self) -> Result<(), String> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match writing.failed.take() {
            Some(error) => Err(error),
            None => writing.finish(&self.key),
        };
        written
            .and_then(|()| std::fs::rename(&self.part, &self.whole))
            .map_err(|error| failed(&self.part, &error))
    }
}

impl Drop for Draft {
    /// What was not finished goes; what was has another name.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.part);
    }
}

impl PackedStore for Draft {
    fn packed(&self, _: &str) -> resnest_model::Result<Option<MappedLayer>> {
        Ok(None)
    }

    fn keep(&self, layer: &str, packed: &PackedConv) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.failed.is_none()
            && let Err(error) = writing.add(layer, packed)
        {
            writing.failed = Some(error);
        }
    }
}

impl Writing {
    fn add(&mut self, name: &str, packed: &PackedConv) -> io::Result<()> {
        let mut out = Summed {
            out: &mut self.out,
            hasher: XxHash3_64::new(),
            length: 0,
        };
        packed.write_to(&mut out)?;
        let (length, checksum) = (out.length, std::hash::Hasher::finish(&out.hasher));
        self.layers.push(Layer {
            name: name.to_owned(),
            bytes: self.at..self.at + length,
            checksum,
        });
        self.at += length;
        Ok(())
    }

    fn finish(&mut self, key: &str) -> io::Result<()> {
        let table = format::table(key, &self.layers);
        self.out.write_all(&table)?;
        self.out.flush()?;
        let file = &mut self.out.file;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&format::header(self.at - HEADER, &table))
    }
}

/// A file that is written in [`BLOCK`]s.
#[derive(Debug)]
struct Blocks {
    file: File,
    /// What has not been written.
    pending: Vec<u8>,
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.len() >= BLOCK {
            self.flush()?;
        }
        let count = bytes.len().min(BLOCK - self.pending.len());
        self.pending.extend(bytes.iter().take(count));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// What is written, and its checksum.
struct Summed<'a> {
    out: &'a mut Blocks,
    hasher: XxHash3_64,
    length: usize,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        std::hash::Hasher::write(&mut self.hasher, bytes.get(..count).unwrap_or_default());
        self.length += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}
