//! Tar archives read in place: an index of their members, then one seek an image. Nothing is unpacked.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Error;
use super::files::{path_text, read_at_most};
use super::search::{self, Found, is_pattern};

/// What a member may have before its bytes: headers, a long name, attributes. Those are read into memory.
const MOST_RECORDS: u64 = 1 << 20;

/// A file inside an archive.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its path in the archive; in an archive within an archive, below that one's name without `.tar`.
    pub name: String,
    /// Where its first byte lies in the outer file.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// The regular files of an archive, in its order; those of archives inside it too (ImageNet's training set is one
/// archive a class within one archive), one level deep as in timm (`timm/data/readers/reader_image_in_tar.py`).
///
/// # Errors
/// [`Error::Unreadable`] for what is no tar archive, or a damaged one.
pub fn index(path: &Path) -> Result<Vec<Member>, Error> {
    let failed = |reason: String| Error::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    let size = file.metadata().map_err(|e| failed(e.to_string()))?.len();
    let mut section = Section::new(&file, 0, size).map_err(|e| failed(e.to_string()))?;
    if let Some(kind) = compression(&mut section).map_err(|e| failed(e.to_string()))? {
        return Err(failed(format!(
            "compressed with {kind}, and so without a way to one image: decompress it first ({kind} -d)"
        )));
    }
    // Some of the crate's errors quote what they could not read.
    let first = |e: io::Error| e.to_string().lines().next().unwrap_or_default().to_owned();
    let not_tar = |e: io::Error| failed(format!("not a whole tar archive: {}", first(e)));
    let mut all = Vec::new();
    for member in members(section, "").map_err(not_tar)? {
        match member.name.strip_suffix(".tar") {
            None => all.push(member),
            Some(inner) => {
                let section = Section::new(&file, member.offset, member.size).map_err(not_tar)?;
                all.extend(members(section, &format!("{inner}/")).map_err(not_tar)?);
            }
        }
    }
    Ok(all)
}

/// The bytes of a member, at most `max_bytes` of them.
///
/// # Errors
/// What the system says; [`io::ErrorKind::UnexpectedEof`] where the archive has been cut short.
pub fn read(path: &Path, offset: u64, size: u64, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let bytes = read_at_most(file.take(size), max_bytes)?;
    if (bytes.len() as u64) < size {
        let reason = format!(
            "{} ends after {} of this image's {size} bytes: it has been cut short",
            path.display(),
            bytes.len()
        );
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
    }
    Ok(bytes)
}

/// A member's name as text; on systems whose paths are no bytes, its path's.
fn name(bytes: &[u8]) -> String {
    #[cfg(unix)]
    return path_text(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes));
    #[cfg(not(unix))]
    path_text(&*String::from_utf8_lossy(bytes))
}

fn members(section: Section, below: &str) -> io::Result<Vec<Member>> {
    let (start, left) = (section.start, Rc::clone(&section.left));
    let mut archive = tar::Archive::new(section);
    let mut entries = archive.entries_with_seek()?;
    let mut all = Vec::new();
    loop {
        left.set(MOST_RECORDS);
        let Some(entry) = entries.next() else {
            return Ok(all);
        };
        let entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_file() || kind.is_contiguous() {
            let name = name(&entry.path_bytes());
            let name = name.strip_prefix("./").unwrap_or(&name);
            all.push(Member {
                name: format!("{below}{name}"),
                offset: start.saturating_add(entry.raw_file_position()),
                size: entry.size(),
            });
        }
    }
}

/// The name of the compression a file begins like, if it is one that archives often have.
fn compression(section: &mut Section) -> io::Result<Option<&'static str>> {
    let mut magic = [0; 4];
    let mut got = 0;
    while got < magic.len() {
        match section.read(&mut magic[got..])? {
            0 => break,
            n => got += n,
        }
    }
    section.seek(SeekFrom::Start(0))?;
    Ok(match magic {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => Some("zstd"),
        [b'B', b'Z', b'h', _] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X'] => Some("xz"),
        _ => None,
    })
}

/// A part of a file that reads like a file of its own.
struct Section<'a> {
    file: &'a File,
    start: u64,
    len: u64,
    at: u64,
    /// Bytes that may still be read.
    left: Rc<Cell<u64>>,
}

impl<'a> Section<'a> {
    fn new(mut file: &'a File, start: u64, len: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self {
            file,
            start,
            len,
            at: 0,
            left: Rc::new(Cell::new(MOST_RECORDS)),
        })
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.at).min(buffer.len() as u64) as usize;
        let got = self.file.read(&mut buffer[..left])?;
        self.at += got as u64;
        let left = self.left.get().checked_sub(got as u64);
        self.left.set(left.ok_or_else(|| {
            let reason =
                format!("a member's name and attributes have more than {MOST_RECORDS} bytes");
            io::Error::new(io::ErrorKind::FileTooLarge, reason)
        })?);
        Ok(got)
    }
}

impl Seek for Section<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        let absolute = target.and_then(|at| self.start.checked_add(at));
        let (Some(target), Some(absolute)) = (target, absolute) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a position outside any file",
            ));
        };
        self.file.seek(SeekFrom::Start(absolute))?;
        self.at = target;
        Ok(target)
    }
}

/// The archives a brace or glob pattern stands for, in its order.
///
/// # Errors
/// [`Error::Pattern`]; [`Error::Unreadable`] for a folder that cannot be searched.
pub fn matching(data: &OsStr) -> Result<Vec<PathBuf>, Error> {
    let failed = |reason: String| Error::Pattern {
        data: path_text(data),
        reason,
    };
    let names = match data.to_str() {
        Some(text) => super::braces::expand(text).map_err(failed)?,
        None => Vec::new(),
    };
    let mut names: Vec<OsString> = names.into_iter().map(OsString::from).collect();
    if data.to_str().is_none() {
        // Braces are for names in UTF-8; another one may still have wildcards.
        names.push(data.to_owned());
    }
    let mut paths = Vec::new();
    for name in names {
        if Path::new(&name).exists() || !is_pattern(&name) {
            paths.push(PathBuf::from(name));
            continue;
        }
        let mut some = Vec::new();
        for found in search::matching(&name).map_err(failed)? {
            match found {
                Found::File(path) => some.push(path),
                Found::Broken { path, reason } | Found::Unreadable { path, reason } => {
                    return Err(Error::Unreadable { path, reason });
                }
            }
        }
        if some.is_empty() {
            return Err(failed(format!("no file matches {}", path_text(&name))));
        }
        some.sort_by(|a, b| super::natural_order(&path_text(a), &path_text(b)));
        paths.append(&mut some);
    }
    Ok(paths)
}
