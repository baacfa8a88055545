//! Labelled images on disk: timm's class folders, tar archives read in place, WebDataset's shards.
//!
//! A [`Dataset`] is an index: names, labels and where the bytes are, some hundred bytes an image. The images themselves
//! are read one at a time.
//!
//! ```
//! use resnest::dataset::{Dataset, Label};
//!
//! # let folder = tempfile::tempdir()?;
//! # let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/resnest/demo/photos");
//! # for (class, photo) in [("cat", "chelsea.png"), ("horse", "horse.png")] {
//! #     std::fs::create_dir(folder.path().join(class))?;
//! #     std::fs::copy(format!("{photos}/{photo}"), folder.path().join(class).join(photo))?;
//! # }
//! # let data = folder.path().display().to_string();
//! let dataset = Dataset::open(&data)?; // "photos/", "photos.tar" or "shards/{000..003}.tar"
//! assert_eq!(dataset.classes(), ["cat", "horse"]);
//! assert_eq!(dataset.samples()[1].name, "horse/horse.png");
//! assert_eq!(dataset.samples()[1].label, Label::Class(1));
//! let bytes = dataset.read(&dataset.samples()[1], 1 << 20)?;
//! # assert!(bytes.starts_with(b"\x89PNG"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod braces;
mod error;
mod files;
mod folder;
mod natural;
pub mod search;
mod webdataset;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

pub use error::Error;
pub use files::{IMAGE_ENDINGS, is_image_name, path_text, read_at_most};
pub use natural::natural_order;

/// Labelled images, in the order in which they are gone through.
#[derive(Debug, Clone)]
pub struct Dataset {
    source: String,
    samples: Vec<Sample>,
    classes: Vec<String>,
    archives: Vec<PathBuf>,
}

/// One image.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its path below the data set's folder or in its archive, with `/` between the parts ([`path_text`]).
    pub name: String,
    /// What it shows.
    pub label: Label,
    place: Place,
}

/// What an image shows, as the data set says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// The folder it lies in: an index into [`Dataset::classes`].
    Class(usize),
    /// A class index of the model, from a shard.
    Index(usize),
    /// None that can be read; then the image cannot be read either, and says why.
    Unknown,
}

/// Where an image's bytes are.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    File(PathBuf),
    /// In one of the data set's archives.
    Archive {
        archive: u32,
        offset: u64,
        size: u64,
    },
    /// Nowhere, for this reason.
    Missing(String),
}

/// An image without its class yet.
struct Found {
    name: String,
    place: Place,
}

impl Dataset {
    /// Indexes what `data` names: a folder of class folders; a tar archive, or a folder, brace pattern or glob of such.
    ///
    /// Class folders are searched at all depths ([`search`] has the rules); the class is the last folder's name. Classes
    /// and images come in timm's natural order; the samples of WebDataset's shards in the shards' own.
    ///
    /// # Errors
    /// [`Error`], if there is nothing there, no image in it, or an archive is damaged.
    pub fn open(data: impl AsRef<OsStr>) -> Result<Self, Error> {
        let data = data.as_ref();
        let path = Path::new(data);
        let (found, archives) = if path.is_dir() {
            let found = folder::find(path)?;
            match found.is_empty() {
                true => (found, archives_in(path)?),
                false => (found, Vec::new()),
            }
        } else if path.exists() {
            (Vec::new(), vec![path.to_owned()])
        } else if search::is_pattern(data) || path_text(data).contains(['{', '}']) {
            (Vec::new(), archive::matching(data)?)
        } else {
            let data = path_text(data);
            return Err(Error::NotFound { data });
        };
        let mut this = Self {
            source: path_text(data),
            samples: Vec::new(),
            classes: Vec::new(),
            archives,
        };
        let mut found = found;
        found.append(&mut this.index_archives()?);
        if found.is_empty() && this.samples.is_empty() {
            return Err(Error::Empty { data: this.source });
        }
        this.add_classes(found)?;
        Ok(this)
    }

    /// Indexes the archives: shards' samples are taken as they come, plain images are returned for sorting.
    fn index_archives(&mut self) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for (at, path) in (0..).zip(&self.archives) {
            let members = archive::index(path)?;
            if webdataset::is_one(&members) {
                self.samples.extend(webdataset::samples(path, at, &members));
                continue;
            }
            // Of several archives without folders inside, each is a class, named as the file.
            let below = match (self.archives.len(), path.file_stem()) {
                (2.., Some(stem)) => format!("{}/", path_text(stem)),
                _ => String::new(),
            };
            let images = members.into_iter().filter(|m| is_image_name(&m.name));
            found.extend(images.map(|member| Found {
                place: Place::Archive {
                    archive: at,
                    offset: member.offset,
                    size: member.size,
                },
                name: format!("{below}{}", member.name),
            }));
        }
        Ok(found)
    }

    /// Sorts images by name and classes among themselves.
    fn add_classes(&mut self, mut found: Vec<Found>) -> Result<(), Error> {
        found.sort_by(|a, b| natural_order(&a.name, &b.name));
        let mut seen = HashSet::new();
        for Found { name, .. } in &found {
            seen.insert(class_of(name).ok_or_else(|| Error::NoClass { file: name.clone() })?);
        }
        let mut classes: Vec<String> = seen.into_iter().map(str::to_owned).collect();
        classes.sort_by(|a, b| natural_order(a, b));
        let index: HashMap<&str, usize> =
            (0..).zip(&classes).map(|(i, c)| (c.as_str(), i)).collect();
        self.samples
            .extend(found.into_iter().map(|Found { name, place }| {
                let label = class_of(&name).and_then(|class| index.get(class));
                Sample {
                    label: label.map_or(Label::Unknown, |&class| Label::Class(class)),
                    name,
                    place,
                }
            }));
        self.classes = classes;
        Ok(())
    }

    /// What was opened, as it was named ([`path_text`]).
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The images, in order.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The names of the class folders, in natural order; none in WebDataset's shards, whose labels are indices.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Keeps the first `images` only; the classes stay as they are.
    pub fn truncate(&mut self, images: usize) {
        self.samples.truncate(images);
    }

    /// The encoded bytes of one image, at most `max_bytes` of them.
    ///
    /// # Errors
    /// What the system says, a cut archive, a missing label.
    pub fn read(&self, sample: &Sample, max_bytes: u64) -> io::Result<Vec<u8>> {
        match &sample.place {
            Place::File(path) => read_at_most(std::fs::File::open(path)?, max_bytes),
            Place::Missing(reason) => Err(io::Error::new(io::ErrorKind::NotFound, reason.clone())),
            &Place::Archive {
                archive,
                offset,
                size,
            } => match self.archives.get(archive as usize) {
                Some(path) => archive::read(path, offset, size, max_bytes),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }
}

/// The last folder of a path.
fn class_of(name: &str) -> Option<&str> {
    let (folders, _) = name.rsplit_once('/')?;
    folders.rsplit('/').next().filter(|class| !class.is_empty())
}

/// The archives that lie in a folder without images.
fn archives_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |e: io::Error| Error::Unreadable {
        path: folder.to_owned(),
        reason: e.to_string(),
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "tar") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort_by(|a, b| natural_order(&path_text(a), &path_text(b)));
    Ok(paths)
}
