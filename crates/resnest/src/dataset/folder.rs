//! timm's folder layout: the class of an image is the folder it lies in (`timm/data/readers/reader_image_folder.py`).

use std::path::Path;

use super::files::is_image_name;
use super::{Error, Found, Place};

/// Every image below `root`, links followed; a link back to a folder it lies in is not followed again.
pub fn find(root: &Path) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root).follow_links(true) {
        match entry {
            Ok(entry) if entry.file_type().is_file() => {
                let name = relative(root, entry.path());
                if is_image_name(&name) {
                    let place = Place::File(entry.into_path());
                    found.push(Found { name, place });
                }
            }
            Ok(_) => {}
            Err(error) if error.loop_ancestor().is_some() => {}
            Err(error) => found.extend(unreadable(root, error)?),
        }
    }
    Ok(found)
}

/// A link that leads nowhere is an image that cannot be read; a folder that cannot be read would hide its images.
fn unreadable(root: &Path, error: walkdir::Error) -> Result<Option<Found>, Error> {
    let path = error.path().unwrap_or(root).to_owned();
    let reason = match error.io_error() {
        Some(error) => error.to_string(),
        None => error.to_string(),
    };
    let broken_link = path.symlink_metadata().is_ok_and(|data| data.is_symlink());
    if !broken_link {
        return Err(Error::Unreadable { path, reason });
    }
    let name = relative(root, &path);
    Ok(is_image_name(&name).then(|| Found {
        name,
        place: Place::Missing(format!("a link that leads nowhere: {reason}")),
    }))
}

/// The path below `root`, with `/` on every system.
fn relative(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}
