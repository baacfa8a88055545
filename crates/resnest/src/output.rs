//! Files that are whole or not there: written beside their place under a name of their own, and renamed when all is
//! said. What was there before stays whole until then.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Letters and digits that make a part's name its own (`tempfile`'s number).
const OWN: usize = 6;

/// A file that is being written.
///
/// While it is, its bytes are in `NAME.xxxxxx.part` in the same folder; dropped before [`Output::finish`], it leaves
/// nothing behind. What is no regular file (a pipe, `/dev/stdout`) is written where it is.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    sink: Sink,
    lock: Option<Lock>,
}

#[derive(Debug)]
enum Sink {
    /// A part, and the file that it will be.
    Beside(NamedTempFile, PathBuf),
    /// No regular file.
    Itself(File),
}

impl Output {
    /// Begins a file.
    ///
    /// # Errors
    /// What the system says of the folder or of the file that is there; a folder of this name.
    pub fn create(path: &Path) -> io::Result<Self> {
        let sink = match place(path)? {
            Some(target) => Sink::Beside(part(&target)?, target),
            None => Sink::Itself(OpenOptions::new().write(true).open(path)?),
        };
        Ok(Self {
            path: path.to_owned(),
            sink,
            lock: None,
        })
    }

    /// Begins a file that no other run may be writing at the same time: `NAME.lock` is locked until it is whole or given
    /// up. Parts that a run before has left, because it was killed, are removed.
    ///
    /// # Errors
    /// As [`Output::create`]; [`ErrorKind::ResourceBusy`] if another run writes it.
    pub fn locked(path: &Path) -> io::Result<Self> {
        let Some(target) = place(path)? else {
            return Self::create(path);
        };
        let lock = Lock::take(&target)?;
        if lock.is_some() {
            remove_left_parts(&target);
        }
        Ok(Self {
            lock,
            ..Self::create(path)?
        })
    }

    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The part, to be written by others too; they share its position.
    ///
    /// # Errors
    /// What the system says.
    pub fn file(&self) -> io::Result<File> {
        match &self.sink {
            Sink::Beside(part, _) => part.as_file().try_clone(),
            Sink::Itself(file) => file.try_clone(),
        }
    }

    /// Gives the file its name, in place of what was there.
    ///
    /// # Errors
    /// What the system says; what was there is then untouched.
    pub fn finish(self) -> io::Result<()> {
        finish_all(vec![self])
    }

    /// Has the system write what it still holds, where that says whether there was room for it.
    fn sync(&self) -> io::Result<()> {
        match &self.sink {
            Sink::Beside(part, _) => part.as_file().sync_all(),
            Sink::Itself(_) => Ok(()),
        }
    }

    /// A part that cannot get its name is kept: it may be hours of work.
    fn rename(self) -> io::Result<()> {
        let Sink::Beside(part, target) = self.sink else {
            return Ok(());
        };
        let Err(failed) = part.persist(&target) else {
            return Ok(());
        };
        let (_, kept) = failed.file.keep().map_err(|e| e.error)?;
        let reason = format!(
            "{}; what it should hold is in {}",
            failed.error,
            kept.display()
        );
        Err(io::Error::new(failed.error.kind(), reason))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Beside(part, _) => part.as_file_mut().write(bytes),
            Sink::Itself(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the files of one result their names, the last one last.
///
/// Nothing is renamed before all of them are on the disk. Of several, the old file in the last one's place is taken away
/// first: whoever is killed between two renames leaves a result without its last file, never files of two results.
///
/// # Errors
/// What the system says.
pub fn finish_all(outputs: Vec<Output>) -> io::Result<()> {
    for output in outputs
        .iter()
        .filter(|output| output.lock.is_some() || outputs.len() > 1)
    {
        output.sync()?;
    }
    if let [
        _,
        ..,
        Output {
            sink: Sink::Beside(_, target),
            ..
        },
    ] = &outputs[..]
    {
        match fs::remove_file(target) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // A lock ends with its output: those of all are kept until the last has its name.
    let (mut locks, mut ended) = (Vec::new(), Ok(()));
    for mut output in outputs {
        locks.push(output.lock.take());
        ended = ended.and_then(|()| output.rename());
    }
    ended
}

/// Writes a file whole or not at all.
///
/// # Errors
/// What the system says.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut output = Output::create(path)?;
    output.write_all(bytes)?;
    output.finish()
}

/// The regular file that `path` is or will be, behind links; `None` where something else is there.
fn place(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::Error::new(
            ErrorKind::IsADirectory,
            "there is a folder of this name",
        )),
        Ok(there) if there.is_file() => {
            // A file that must not be written is not replaced either.
            OpenOptions::new().write(true).open(path)?;
            fs::canonicalize(path).map(Some)
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(path.to_owned())),
        Err(error) => Err(error),
    }
}

/// A new, empty part beside `target`, with the rights of the file it will replace.
fn part(target: &Path) -> io::Result<NamedTempFile> {
    let name = with_ending(target, ".");
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(name.file_name().unwrap_or_default())
        .rand_bytes(OWN)
        .suffix(".part");
    #[cfg(unix)]
    let rights = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(unix)]
    builder.permissions(rights);
    let part = builder.tempfile_in(folder(target))?;
    if let Ok(there) = fs::metadata(target) {
        // Another's file in a shared folder may refuse; then the part has this user's own rights.
        let _ = part.as_file().set_permissions(there.permissions());
    }
    Ok(part)
}

/// Removes `NAME.xxxxxx.part`; whoever made them has ended, or they would hold the lock.
fn remove_left_parts(target: &Path) {
    let Some(name) = target.file_name() else {
        return;
    };
    for entry in fs::read_dir(folder(target)).into_iter().flatten().flatten() {
        if is_part_of(&entry.file_name(), name) {
            // One that cannot be removed takes room, no more.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_part_of(part: &OsStr, name: &OsStr) -> bool {
    let own = (part
        .as_encoded_bytes()
        .strip_prefix(name.as_encoded_bytes()))
    .and_then(|rest| rest.strip_prefix(b"."))
    .and_then(|rest| rest.strip_suffix(b".part"));
    own.is_some_and(|own| own.len() == OWN && own.iter().all(u8::is_ascii_alphanumeric))
}

fn folder(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Locks an open file against other runs.
///
/// # Errors
/// [`ErrorKind::ResourceBusy`] if another run has it. A file system without locks has none to give: false, no error.
pub(crate) fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            ErrorKind::ResourceBusy,
            "another run is writing it: let that one end, or give another name",
        )),
        Err(TryLockError::Error(_)) => Ok(false),
    }
}

/// The locked file `NAME.lock`, which goes with its owner.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// `None` where the file system has no locks.
    fn take(target: &Path) -> io::Result<Option<Self>> {
        let path = with_ending(target, ".lock");
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            if !lock(&file)? {
                let _ = fs::remove_file(&path);
                return Ok(None);
            }
            // The owner before may have removed the file between our opening and our locking it.
            if is_at(&file, &path) {
                return Ok(Some(Self { path, file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // In this order, so that nobody finds it unlocked. A file that stays is locked by the next run.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let ends = (file.metadata(), fs::metadata(path));
    matches!(ends, (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_there_stays_until_the_end_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        fs::write(&path, "old").unwrap();
        let mut given_up = Output::locked(&path).unwrap();
        given_up.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(given_up);
        assert_eq!(names(folder.path()), ["x.csv"]);
        let mut whole = Output::locked(&path).unwrap();
        whole.write_all(b"new").unwrap();
        whole.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["x.csv"]);
    }

    #[test]
    fn a_second_writer_is_refused_and_the_parts_of_the_dead_go() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["x.AbC123.part", "x.y.AbC123.part", "x.AbC12.part", "x.lock"] {
            fs::write(at(name), "left").unwrap();
        }
        let first = Output::locked(&at("x")).unwrap();
        let second = Output::locked(&at("x")).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::ResourceBusy);
        assert!(!at("x.AbC123.part").exists());
        assert!(at("x.y.AbC123.part").exists() && at("x.AbC12.part").exists());
        drop(first);
        assert!(!at("x.lock").exists());
        Output::locked(&at("x")).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_and_rights_stay_and_devices_are_written_where_they_are() {
        use std::os::unix::fs::{MetadataExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        write_whole(Path::new("/dev/null"), b"new").unwrap();
        assert!(write_whole(Path::new("/dev/full"), b"new").is_err());
        assert!(write_whole(folder.path(), b"new").is_err());
    }

    #[test]
    fn a_result_of_two_files_is_never_of_two_runs() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["rows", "list"] {
            fs::write(at(name), "old").unwrap();
        }
        let new = |name: &str| {
            let mut output = Output::create(&at(name)).unwrap();
            output.write_all(b"new").unwrap();
            output
        };
        let outputs = vec![new("list"), new("rows")];
        // A folder in the last one's place, as if made meanwhile.
        fs::remove_file(at("rows")).unwrap();
        fs::create_dir(at("rows")).unwrap();
        assert!(finish_all(outputs).is_err());
        assert_eq!(fs::read(at("list")).unwrap(), b"old");
        fs::remove_dir(at("rows")).unwrap();
        finish_all(vec![new("list"), new("rows")]).unwrap();
        assert_eq!(fs::read(at("rows")).unwrap(), b"new");
        assert_eq!(fs::read(at("list")).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["list", "rows"]);
    }
}
