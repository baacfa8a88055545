//! What counts as an image file, and reading no more of one than is allowed.

use std::io::{Error, ErrorKind, Read};

/// Endings that count as images where a folder or an archive is searched, in lower case.
pub const IMAGE_ENDINGS: [&str; 9] = [
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jpe",
];

/// Whether a file's name ends as an image's does.
pub fn is_image_name(name: &str) -> bool {
    let file = name
        .rsplit(['/', std::path::MAIN_SEPARATOR])
        .next()
        .unwrap_or(name);
    file.rsplit_once('.')
        .is_some_and(|(_, ending)| is_image_ending(ending))
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
        assert!(!is_image_name("a.png/x") && !is_image_name("png") && !is_image_name("x.txt"));
        assert!(read_at_most(&[0u8; 9][..], 8).is_err());
        assert_eq!(read_at_most(&[0u8; 8][..], 8).unwrap().len(), 8);
    }
}
