//! Addresses of the hub's API.

use crate::hub::names::FileRef;

/// The file's address, `{endpoint}/{repo}/resolve/{revision}/{filename}`.
pub(super) fn of_file(file: &FileRef, endpoint: &str) -> String {
    format!(
        "{endpoint}/{}/resolve/{}/{}",
        file.repo(),
        percent_encode(file.revision(), b""),
        percent_encode(file.filename(), b"/")
    )
}

/// The address that answers whether the revision exists.
pub(super) fn of_revision(file: &FileRef, endpoint: &str) -> String {
    format!(
        "{endpoint}/api/models/{}/revision/{}",
        file.repo(),
        percent_encode(file.revision(), b"")
    )
}

/// The address that answers whether the repository exists.
pub(super) fn of_repo(file: &FileRef, endpoint: &str) -> String {
    format!("{endpoint}/api/models/{}", file.repo())
}

/// RFC 3986 escaping as Python's `urllib.parse.quote(text, safe=keep)`.
fn percent_encode(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte);
        if plain || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_escaped_as_python_does() {
        let file = FileRef::new("u/r", Some("refs/pr/1"), "sub dir/a#b+c.bin").unwrap();
        assert_eq!(
            of_file(&file, "http://h"),
            "http://h/u/r/resolve/refs%2Fpr%2F1/sub%20dir/a%23b%2Bc.bin"
        );
        assert_eq!(
            of_revision(&file, "http://h"),
            "http://h/api/models/u/r/revision/refs%2Fpr%2F1"
        );
    }
}
