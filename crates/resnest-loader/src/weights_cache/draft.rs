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

#[derive(Debug)]
struct Writing {
    file: File,
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
        let mut file = folder
            .create(&part)
            .map_err(|error| failed(&part, &error))?;
        file.seek(SeekFrom::Start(HEADER as u64))
            .map_err(|error| failed(&part, &error))?;
        Ok(Arc::new(Self {
            key: key.text.clone(),
            whole: folder.entry(&key.name),
            part,
            writing: Mutex::new(Writing {
                file,
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
            file: &mut self.file,
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
        self.file.write_all(&table)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file
            .write_all(&format::header(self.at - HEADER, &table))
    }
}

/// A file, and the checksum of what is written to it.
struct Summed<'a> {
    file: &'a mut File,
    hasher: XxHash3_64,
    length: usize,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
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
