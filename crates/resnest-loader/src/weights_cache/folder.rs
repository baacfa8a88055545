//! The folder of the cache: who may write to it, whose turn it is, and what is thrown away.

use std::fs::{self, DirBuilder, File, Metadata, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};

use super::hex;

/// How long others are waited for who make the same file, or one of those that have the same lock.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);
/// Files that nobody has opened for so long go.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A use is written down when the last one that was is older than this.
const NOTED: Duration = Duration::from_secs(24 * 60 * 60);
/// What a process that was killed has left is removed after this time.
const LEFT: Duration = Duration::from_secs(60 * 60);
/// Bytes of all files together; the variable sets another number.
const MOST_BYTES: u64 = 8 << 30;
const MOST_BYTES_VARIABLE: &str = "RESNEST_WEIGHTS_CACHE_BYTES";

const ENTRY: &str = "weights";
const PART: &str = "part";
const MEMORY: &str = "sha256";

/// A folder that only this user, or root, writes to.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

/// Whether this process may make a file now.
#[derive(Debug)]
pub(super) enum Turn {
    /// As long as this file, which is locked, is open.
    Ours(File),
    /// Others took too long, or there are no locks here.
    Never(String),
}

impl Folder {
    /// Makes the folder if need be.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let shown = path.display();
        let made = builder.create(path);
        let found = fs::metadata(path);
        let found = match (found, made) {
            (Ok(found), _) => found,
            (Err(_), Err(error)) | (Err(error), Ok(())) => {
                return Err(format!("the folder {shown} cannot be made: {error}"));
            }
        };
        match is_ours(&found) {
            _ if !found.is_dir() => Err(format!("{shown} is no folder")),
            true => Ok(Self(path.to_owned())),
            false => Err(format!(
                "others can write to the folder {shown}; one of your own, of mode 0700, will do"
            )),
        }
    }

    /// Where the file of this name is, or would be.
    pub(super) fn entry(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.{ENTRY}"))
    }

    /// Where it is while it is made.
    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.{PART}"))
    }

    /// The file of this name, if it is there and nobody else can write to it.
    pub(super) fn trusted(&self, name: &str) -> Option<File> {
        let file = File::open(self.entry(name)).ok()?;
        let found = file.metadata().ok()?;
        if !found.is_file() || !is_ours(&found) {
            return None;
        }
        if age(&found).is_some_and(|age| age > NOTED) {
            // The time of the last use; where that is not to be set, the file's age counts.
            let _ = file.set_modified(SystemTime::now());
        }
        Some(file)
    }

    /// A new file for this user alone, in the place of one that somebody has left there.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        let _ = fs::remove_file(path);
        own(File::options().write(true).create_new(true)).open(path)
    }

    /// Waits until nobody else makes a file of this name.
    pub(super) fn turn(&self, name: &str) -> Turn {
        // A few locks for all names: they are never removed, as others may be about to take one.
        let lock = self
            .0
            .join(format!("lock-{}", name.get(..1).unwrap_or_default()));
        let cannot = |problem: String| Turn::Never(format!("{}: {problem}", lock.display()));
        let options = &mut File::options();
        let file = match own(options.write(true).create(true).truncate(false)).open(&lock) {
            Ok(file) => file,
            Err(error) => return cannot(format!("cannot be written: {error}")),
        };
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Turn::Ours(file),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(POLL);
                }
                Err(TryLockError::WouldBlock) => {
                    return cannot(format!("another process has held it for {PATIENCE:?}"));
                }
                Err(TryLockError::Error(error)) => {
                    return cannot(format!("cannot be locked: {error}"));
                }
            }
        }
    }

    /// The hash that was remembered of the file with this stamp.
    pub(super) fn remembered(&self, stamp: &str) -> Option<String> {
        let path = self.memory(stamp);
        if !is_ours(&fs::metadata(&path).ok()?) {
            return None;
        }
        let sha256 = fs::read_to_string(path).ok()?;
        let whole = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        whole.then_some(sha256)
    }

    /// Remembers a hash. Where that cannot be, it is computed again.
    pub(super) fn remember(&self, stamp: &str, sha256: &str) {
        let path = self.memory(stamp);
        let part = path.with_extension(format!("{}.{PART}", std::process::id()));
        let written = self
            .create(&part)
            .and_then(|mut file| io::Write::write_all(&mut file, sha256.as_bytes()));
        if written.and_then(|()| fs::rename(&part, path)).is_err() {
            let _ = fs::remove_file(part);
        }
    }

    fn memory(&self, stamp: &str) -> PathBuf {
        let name = hex(&Sha256::digest(stamp)[..16]);
        self.0.join(format!("{name}.{MEMORY}"))
    }

    /// Removes what nobody has used for long, then the files that were used least recently until the others are few enough;
    /// `kept` stays. Processes that have mapped a file keep it until they end.
    pub(super) fn sweep(&self, kept: &str) {
        let limit = std::env::var(MOST_BYTES_VARIABLE).ok();
        let limit = limit.and_then(|text| text.parse().ok());
        self.sweep_to(kept, limit.unwrap_or(MOST_BYTES));
    }

    fn sweep_to(&self, kept: &str, limit: u64) {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = file.path();
            let Ok(found) = file.metadata() else { continue };
            let kind = path.extension().and_then(|kind| kind.to_str());
            let old = |limit| age(&found).is_some_and(|age| age > limit);
            match kind {
                Some(PART) if old(LEFT) => remove(&path),
                Some(ENTRY | MEMORY) if old(UNUSED) && path != self.entry(kept) => remove(&path),
                Some(ENTRY) => entries.push((age(&found), found.len(), path)),
                _ => {}
            }
        }
        entries.sort();
        let mut total = 0_u64;
        for (_, bytes, path) in entries {
            total = total.saturating_add(bytes);
            if total > limit && path != self.entry(kept) {
                remove(&path);
            }
        }
    }
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Since the last use.
fn age(found: &Metadata) -> Option<Duration> {
    found.modified().ok()?.elapsed().ok()
}

/// Options for a file that only this user can read.
fn own(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Whether nobody but this user and root can write to it.
#[cfg(unix)]
fn is_ours(found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (owner, user) = (found.uid(), nix::unistd::geteuid().as_raw());
    (owner == 0 || owner == user) && found.mode() & 0o022 == 0
}

#[cfg(not(unix))]
fn is_ours(_: &Metadata) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A file of so many bytes that was last used so many days ago.
    fn file(folder: &Path, name: &str, bytes: u64, days: u64) {
        let file = File::create(folder.join(name)).unwrap();
        file.set_len(bytes).unwrap();
        let age = Duration::from_secs(days * 24 * 60 * 60);
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let all = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = all
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_old_goes_and_then_what_was_used_least_recently() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        for (name, bytes, days) in [
            ("new.weights", 10, 0),
            ("week.weights", 10, 7),
            ("weeks.weights", 10, 20),
            ("old.weights", 1, 40),
            ("kept.weights", 100, 50),
            ("old.sha256", 1, 40),
            ("new.sha256", 1, 1),
            ("killed.part", 5, 1),
            ("writing.part", 5, 0),
            ("lock-a", 0, 400),
            ("somebody's", 1000, 400),
        ] {
            file(place.path(), name, bytes, days);
        }
        let left = [
            "kept.weights",
            "lock-a",
            "new.sha256",
            "new.weights",
            "somebody's",
        ];
        folder.sweep_to("kept", 1000);
        let more = [
            &left[..],
            &["week.weights", "weeks.weights", "writing.part"],
        ]
        .concat();
        assert_eq!(names(place.path()), more);
        folder.sweep_to("kept", 25);
        let more = [&left[..], &["week.weights", "writing.part"]].concat();
        assert_eq!(names(place.path()), more);
        folder.sweep_to("kept", 0);
        let fewer = [
            "kept.weights",
            "lock-a",
            "new.sha256",
            "somebody's",
            "writing.part",
        ];
        assert_eq!(names(place.path()), fewer);
    }

    #[test]
    fn a_folder_that_is_made_is_this_users_alone_and_so_are_its_files() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let folder = Folder::open(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        folder.create(&folder.part("x")).unwrap();
        assert_eq!(mode(&folder.part("x")), 0o600);
        let sha256 = "0123456789abcdef".repeat(4);
        folder.remember("stamp", &sha256);
        assert_eq!(folder.remembered("stamp"), Some(sha256.clone()));
        assert_eq!(folder.remembered("another"), None);
        fs::write(folder.memory("stamp"), "0123").unwrap();
        assert_eq!(folder.remembered("stamp"), None);
        // What others can write to is not trusted.
        fs::write(folder.memory("stamp"), &sha256).unwrap();
        fs::set_permissions(folder.memory("stamp"), PermissionsExt::from_mode(0o602)).unwrap();
        assert_eq!(folder.remembered("stamp"), None);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o720)).unwrap();
        assert!(
            Folder::open(&path)
                .unwrap_err()
                .contains("others can write")
        );
    }

    #[test]
    fn one_process_at_a_time_has_its_turn() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let Turn::Ours(first) = folder.turn("abc") else {
            panic!("nobody has it");
        };
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                assert!(matches!(folder.turn("a"), Turn::Ours(_)));
                Instant::now()
            });
            assert!(matches!(folder.turn("b"), Turn::Ours(_)));
            std::thread::sleep(Duration::from_millis(50));
            let released = Instant::now();
            drop(first);
            assert!(second.join().unwrap() >= released);
        });
    }
}
