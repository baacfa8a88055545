//! The manifest: which weights there are, where, and what goes with them. Data, not code: adding a
//! checkpoint is an entry in `weights-manifest.toml` or in a file of the user's.

mod entry;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

pub use entry::{Entry, OfficialFile};

use crate::error::{Error, Result, nearest};

// A copy of the repository's weights-manifest.toml, which is where users look for it and where it is edited: a
// package on crates.io can hold only files from its own folder, and a symlink would be a text file on a Windows
// clone. A test below holds the two together; `cp weights-manifest.toml crates/resnest-loader/` after an edit.
const BUILT_IN: &str = include_str!("../../weights-manifest.toml");
const SCHEMA: i64 = 1;
const KEYS: [&str; 5] = ["schema", "model", "official", "aliases", "dropped"];

/// All known weights: the built-in ones, then the user's.
///
/// ```
/// let manifest = resnest_loader::Manifest::builtin()?;
/// assert_eq!(manifest.find("resnest50d")?.entry.name, "resnest50d.in1k");
/// assert_eq!(manifest.matching("resnest50d*").count(), 3);
/// # Ok::<(), resnest_loader::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    entries: Vec<Entry>,
    official: Vec<OfficialFile>,
    aliases: BTreeMap<String, String>,
    /// Name → what to use instead.
    dropped: BTreeMap<String, Vec<String>>,
    /// Names without an entry that are suggested all the same.
    also_known: Vec<String>,
}

/// An entry, and a warning when it was found under an old name.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// The old name the entry was asked by, if any.
    pub alias: Option<&'a str>,
}

impl Manifest {
    /// The manifest compiled into the crate: every pretrained tag of timm's `resnest.py`, `resnet.py`,
    /// `sknet.py`, `res2net.py` and `senet.py`.
    ///
    /// # Errors
    /// None in a released crate; a test holds the file to its schema.
    pub fn builtin() -> Result<Self> {
        Self::parse(BUILT_IN, "built-in", None)
    }

    /// Reads a manifest's text; `file` names it in messages, `folder` is what relative paths start from.
    ///
    /// # Errors
    /// [`Error::Manifest`] naming file, entry and field.
    pub fn parse(text: &str, file: &str, folder: Option<&Path>) -> Result<Self> {
        let root: Value = toml::from_str(text)
            .map_err(|e| manifest_error(file, "-", "-", format!("not TOML: {e}")))?;
        let Value::Object(root) = root else {
            return Err(manifest_error(file, "-", "-", "a table was expected"));
        };
        if let Some(key) = root.keys().find(|k| !KEYS.contains(&k.as_str())) {
            return Err(manifest_error(
                file,
                "-",
                key,
                "unknown; schema, [[model]], [[official]], [aliases] and [dropped] are known",
            ));
        }
        if root.get("schema").and_then(Value::as_i64) != Some(SCHEMA) {
            return Err(manifest_error(
                file,
                "-",
                "schema",
                format!("schema = {SCHEMA} was expected"),
            ));
        }
        let mut manifest = Self {
            entries: Vec::new(),
            official: Vec::new(),
            aliases: aliases(&root, file)?,
            dropped: dropped(&root, file)?,
            also_known: Vec::new(),
        };
        for (map, label) in tables(&root, "model", "name", file)? {
            manifest.add(Entry::read(map, file, &label, folder)?)?;
        }
        for (map, label) in tables(&root, "official", "file", file)? {
            manifest
                .official
                .push(OfficialFile::read(map, file, &label)?);
        }
        Ok(manifest)
    }

    /// Adds the entries of a file of the user's.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Manifest`] naming file, entry and field; a name that is taken is an error.
    pub fn with_file(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            path: path.to_path_buf(),
            source,
        })?;
        self.merge(Self::parse(
            &text,
            &path.display().to_string(),
            path.parent(),
        )?)
    }

    /// Adds names of models that the caller has besides the entries, such as an embedded one:
    /// [`Manifest::find`] does not find them, but suggests them for a name that is near.
    #[must_use]
    pub fn also_known(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.also_known.extend(names);
        self
    }

    /// Adds another manifest's entries after this one's.
    ///
    /// # Errors
    /// [`Error::Manifest`] when both have an entry of one name.
    pub fn merge(mut self, other: Self) -> Result<Self> {
        for entry in other.entries {
            self.add(entry)?;
        }
        self.official.extend(other.official);
        for (old, new) in other.aliases {
            self.aliases.entry(old).or_insert(new);
        }
        for (name, instead) in other.dropped {
            self.dropped.entry(name).or_insert(instead);
        }
        self.also_known.extend(other.also_known);
        Ok(self)
    }

    fn add(&mut self, entry: Entry) -> Result<()> {
        if let Some(taken) = self.entries.iter().find(|e| e.name == entry.name) {
            let problem = format!("the name is taken by an entry of {}", taken.manifest);
            return Err(manifest_error(
                &entry.manifest,
                &entry.name,
                "name",
                problem,
            ));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// The entry of `arch.tag`, or the first of a bare `arch`. Old names of timm are mapped.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] with the nearest names, [`Error::DroppedModel`] with what to use instead.
    pub fn find(&self, name: &str) -> Result<Found<'_>> {
        if let Some(entry) = self.lookup(name) {
            return Ok(Found { entry, alias: None });
        }
        if let Some((old, new)) = self.aliases.get_key_value(name) {
            return match self.lookup(new) {
                Some(entry) => Ok(Found {
                    entry,
                    alias: Some(old),
                }),
                None => Err(Error::Source {
                    name: name.to_string(),
                    problem: format!("timm calls it {new} now, which is not in the manifest yet"),
                }),
            };
        }
        if let Some(instead) = self.dropped.get(name) {
            return Err(Error::DroppedModel {
                name: name.to_string(),
                instead: instead.clone(),
            });
        }
        if self.also_known.iter().any(|known| known == name) {
            return Err(Error::Source {
                name: name.to_string(),
                problem: "built in; there is nothing to look up or download".into(),
            });
        }
        let entries = self.entries.iter();
        let known = entries
            .flat_map(|e| [e.name.as_str(), e.architecture.as_str()])
            .chain(self.also_known.iter().map(String::as_str));
        let mut near = nearest(name, known);
        near.dedup();
        Err(Error::UnknownModel {
            name: name.to_string(),
            nearest: near,
        })
    }

    fn lookup(&self, name: &str) -> Option<&Entry> {
        let by_name = self.entries.iter().find(|e| e.name == name);
        by_name.or_else(|| self.entries.iter().find(|e| e.architecture == name))
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Entries whose name fits a pattern of `*` (any text) and `?` (any character). As in timm, a pattern
    /// without a tag also fits names with one.
    pub fn matching(&self, pattern: &str) -> impl Iterator<Item = &Entry> {
        let pattern = pattern.to_string();
        let with_tag = (!pattern.contains('.')).then(|| format!("{pattern}.*"));
        self.entries.iter().filter(move |e| {
            fits(&pattern, &e.name) || with_tag.as_ref().is_some_and(|p| fits(p, &e.name))
        })
    }

    /// The file of the original repository that has this name.
    pub fn official(&self, path: &Path) -> Option<&OfficialFile> {
        let name = path.file_name()?.to_str()?;
        self.official.iter().find(|o| o.file == name)
    }

    /// Every file of the original repository.
    pub fn official_files(&self) -> &[OfficialFile] {
        &self.official
    }
}

fn manifest_error(file: &str, entry: &str, field: &str, problem: impl Into<String>) -> Error {
    Error::Manifest {
        file: file.into(),
        entry: entry.into(),
        field: field.into(),
        problem: problem.into(),
    }
}

/// The tables of an array, each with the label it has in messages.
fn tables<'a>(
    root: &'a Map<String, Value>,
    kind: &str,
    label: &str,
    file: &str,
) -> Result<Vec<(&'a Map<String, Value>, String)>> {
    let list = match root.get(kind) {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => {
            return Err(manifest_error(
                file,
                "-",
                kind,
                format!("[[{kind}]] tables were expected"),
            ));
        }
    };
    let one = |(index, value): (usize, &'a Value)| {
        let number = format!("#{}", index + 1);
        let map = value
            .as_object()
            .ok_or_else(|| manifest_error(file, &number, kind, "a table was expected"))?;
        let label = map
            .get(label)
            .and_then(Value::as_str)
            .map_or(number, str::to_string);
        Ok((map, label))
    };
    list.iter().enumerate().map(one).collect()
}

fn aliases(root: &Map<String, Value>, file: &str) -> Result<BTreeMap<String, String>> {
    let bad = |entry: &str| manifest_error(file, "aliases", entry, "old = \"new\" was expected");
    named(root, "aliases", bad, |new| Some(new.as_str()?.to_string()))
}

fn dropped(root: &Map<String, Value>, file: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let bad = |entry: &str| {
        let problem = "name = [\"what to use instead\"] was expected";
        manifest_error(file, "dropped", entry, problem)
    };
    let text = |name: &Value| Some(name.as_str()?.to_string());
    named(root, "dropped", bad, |value| {
        let names: Option<Vec<String>> = value.as_array()?.iter().map(text).collect();
        names.filter(|names| !names.is_empty())
    })
}

/// A table from names to what `read` makes of their values; `bad` is the error about one of them.
fn named<T>(
    root: &Map<String, Value>,
    table: &str,
    bad: impl Fn(&str) -> Error,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeMap<String, T>> {
    let map = match root.get(table) {
        None => return Ok(BTreeMap::new()),
        Some(value) => value.as_object().ok_or_else(|| bad("-"))?,
    };
    let pair = |(name, value): (&String, &Value)| {
        let value = read(value).ok_or_else(|| bad(name))?;
        Ok((name.clone(), value))
    };
    map.iter().map(pair).collect()
}

/// Shell-like matching by `*` and `?`; on a mismatch only the latest `*` grows, so the time is at most
/// the product of the lengths.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, seen)) => {
                    star = Some((at, seen + 1));
                    (p, t) = (at + 1, seen + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests;
