//! What counts as an image file, and reading no more of one than is allowed.

use std::ffi::OsStr;
use std::fmt::Write;
use std::io::{Error, ErrorKind, Read};

/// Endings that count as images where a folder or an archive is searched, in lower case.
pub const IMAGE_ENDINGS: [&str; 16] = [
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jpe", "ppm", "pgm", "pbm", "pnm",
    "tga", "qoi", "ico",
];

/// Whether a file's name is an image's: by its ending, and not `._NAME`, as macOS calls what it keeps of a file beside it
/// where the file system has no place for that.
pub fn is_image_name(name: &str) -> bool {
    let file = name
        .rsplit(['/', std::path::MAIN_SEPARATOR])
        .next()
        .unwrap_or(name);
    let ends = |file: &str| {
        file.rsplit_once('.')
            .map(|(_, ending)| is_image_ending(ending))
    };
    !file.starts_with("._") && ends(file) == Some(true)
}

/// A path or name as text that no other one has, whatever its bytes.
///
/// UTF-8 stands as it is. Bytes that are none are written `\xHH`, and in such a name, or one that has `\x` in it, each
/// backslash twice. (On Windows, where paths are no bytes, only what is not Unicode is written so.)
pub fn path_text(path: impl AsRef<OsStr>) -> String {
    let path = path.as_ref();
    if let Some(text) = path
        .to_str()
        .filter(|t| cfg!(windows) || !t.contains("\\x"))
    {
        return text.to_owned();
    }
    let mut text = String::new();
    for chunk in path.as_encoded_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

/// Whether this is an image's ending, in capitals too.
pub fn is_image_ending(ending: &str) -> bool {
    IMAGE_ENDINGS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(ending))
}

/// All of `from`, unless it is more than `max_bytes`.
///
/// # Errors
/// What reading gives, and [`ErrorKind::FileTooLarge`].
pub fn read_at_most(from: impl Read, max_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let reason = format!("larger than the limit of {max_bytes} bytes for one encoded image");
        return Err(Error::new(ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_count_in_any_case_and_sizes_are_limited() {
        assert!(is_image_name("a/b.c/x.JPEG") && is_image_name("x.y.png"));
        assert!(
            !is_image_name("a/._x.jpg") && is_image_name("._a/x.jpg") && is_image_name("_.jpg")
        );
        assert!(!is_image_name("a.png/x") && !is_image_name("png") && !is_image_name("x.txt"));
        assert!(read_at_most(&[0u8; 9][..], 8).is_err());
        assert_eq!(read_at_most(&[0u8; 8][..], 8).unwrap().len(), 8);
    }
    #[cfg(unix)]
    #[test]
    fn no_two_names_are_the_same_text() {
        use std::os::unix::ffi::OsStrExt;
        let names: [(&[u8], &str); 8] = [
            ("a/ü.jpg".as_bytes(), "a/ü.jpg"),
            (b"a\\b", "a\\b"),
            (b"caf\xe9.jpg", "caf\\xE9.jpg"),
            (b"caf\xe8.jpg", "caf\\xE8.jpg"),
            (b"caf\\xE9.jpg", "caf\\\\xE9.jpg"),
            (b"a\\\xe9", "a\\\\\\xE9"),
            (b"a\\\\xE9", "a\\\\\\\\xE9"),
            (b"\xf0\x9f\x98", "\\xF0\\x9F\\x98"),
        ];
        for (name, text) in names {
            assert_eq!(path_text(OsStr::from_bytes(name)), text);
        }
        // Every name of up to four of these bytes.
        let bytes = [b'\\', b'x', b'E', b'9', 0xe9, 0xc3, 0xa9];
        let mut all: Vec<Vec<u8>> = vec![Vec::new()];
        for length in 0..4 {
            let longer: Vec<Vec<u8>> = (all.iter().filter(|name| name.len() == length))
                .flat_map(|name| bytes.map(|byte| [&name[..], &[byte]].concat()))
                .collect();
            all.extend(longer);
        }
        let texts: std::collections::HashSet<String> = all
            .iter()
            .map(|name| path_text(OsStr::from_bytes(name)))
            .collect();
        assert_eq!((texts.len(), all.len()), (2801, 2801));
    }
}
