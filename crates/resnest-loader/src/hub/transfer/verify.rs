//! Comparison of bytes with the hub's ETag.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A difference between the announced file and the received one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// `size`, `sha256` or `git sha1`.
    pub check: &'static str,
    pub expected: String,
    pub got: String,
}

/// Whether an ETag is a hash of the bytes: of 64 hex digits it is the sha256 of a file kept in LFS or Xet, of
/// 40 the git blob hash of a file kept in git. Any other is a mirror's own.
pub(super) fn is_hash(etag: &str) -> bool {
    matches!(etag.len(), 40 | 64) && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Checks size and hash of `file` as it lies on disk, not as it passed by: this also catches a
/// second writer on a file system whose locks do not exclude.
///
/// Of a file whose ETag [is no hash](is_hash) only the size can be checked.
pub(super) fn verify(
    file: &mut File,
    etag: &str,
    size: Option<u64>,
) -> io::Result<Result<(), Mismatch>> {
    let length = file.metadata()?.len();
    if let Some(size) = size.filter(|&size| size != length) {
        return Ok(Err(Mismatch {
            check: "size",
            expected: size.to_string(),
            got: length.to_string(),
        }));
    }
    if !is_hash(etag) {
        return Ok(Ok(()));
    }
    // a blob is called as its ETag is written; Python, whose cache it is too, does so
    let etag = &etag.to_ascii_lowercase();
    file.seek(SeekFrom::Start(0))?;
    let (check, got) = if etag.len() == 64 {
        ("sha256", digest(Sha256::new(), file)?)
    } else {
        let header = format!("blob {length}\0");
        ("git sha1", digest(Sha1::new_with_prefix(header), file)?)
    };
    if got == *etag {
        return Ok(Ok(()));
    }
    Ok(Err(Mismatch {
        check,
        expected: etag.to_owned(),
        got,
    }))
}

fn digest(mut hasher: impl Digest, file: &mut File) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        hasher.update(chunk);
    }
    let bytes = hasher.finalize();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn check(bytes: &[u8], etag: &str, size: Option<u64>) -> Result<(), Mismatch> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        verify(&mut file, etag, size).unwrap()
    }

    /// Values from `sha256sum` and `git hash-object`.
    #[test]
    fn known_hashes() {
        let sha256 = "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447";
        let git = "3b18e512dba79e4c8300dd08aeb37f8e728b8dad";
        assert_eq!(check(b"hello world\n", sha256, Some(12)), Ok(()));
        assert_eq!(check(b"hello world\n", git, None), Ok(()));
        assert_eq!(check(b"hello world\n", "some-etag", Some(12)), Ok(()));
        let upper = [sha256, git].map(str::to_uppercase);
        for etag in &upper {
            assert_eq!(check(b"hello world\n", etag, None), Ok(()));
            let wrong = check(b"hello World\n", etag, None).unwrap_err();
            assert_eq!(wrong.expected, etag.to_lowercase());
        }
        let wrong = check(b"hello World\n", git, Some(12)).unwrap_err();
        assert_eq!((wrong.check, wrong.expected.as_str()), ("git sha1", git));
        let wrong = check(b"hello world", sha256, Some(12)).unwrap_err();
        assert_eq!((wrong.check, wrong.got.as_str()), ("size", "11"));
    }
}
