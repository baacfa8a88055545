//! timm's folder layout: the class of an image is the folder it lies in (`timm/data/readers/reader_image_folder.py`).

use std::path::Path;

use super::files::path_text;
use super::search::{Found as Seen, images_below};
use super::{Error, Found, Place};

/// Every image below `root`.
///
/// # Errors
/// [`Error::Unreadable`] for a folder that cannot be read: a figure without its images would be another data set's.
pub fn find(root: &Path) -> Result<Vec<Found>, Error> {
    let found = images_below(root).into_iter().map(|seen| {
        let name = relative(root, seen.path());
        let place = match seen {
            Seen::File(path) => Place::File(path),
            Seen::Broken { reason, .. } => Place::Missing(reason),
            Seen::Unreadable { path, reason } => return Err(Error::Unreadable { path, reason }),
        };
        Ok(Found { name, place })
    });
    found.collect()
}

/// The path below `root`, with `/` on every system.
fn relative(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    match std::path::MAIN_SEPARATOR {
        '/' => path_text(below),
        _ => {
            let parts: Vec<String> = below.iter().map(path_text).collect();
            parts.join("/")
        }
    }
}
