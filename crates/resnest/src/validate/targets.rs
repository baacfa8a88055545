//! Which class of the model an image's label is.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use super::Error;
use crate::Labels;
use crate::dataset::{Dataset, Label};

/// The model's class of every label of a data set, and the classes that take part.
#[derive(Debug, Clone)]
pub struct Targets {
    /// The model's class of each class folder.
    of_folder: Vec<usize>,
    /// The classes among which is chosen, if not all.
    valid: Option<Vec<usize>>,
    classes: usize,
}

impl Targets {
    /// Matches class folders with the model's classes.
    ///
    /// With a class map, a folder's index is its line. Without, a folder called as one of the model's classes (a synset
    /// such as `n02123045`, or `cat`) is that class; if none is, there must be as many folders as classes, and they are
    /// numbered in natural order as timm does. `valid`, timm's `--valid-labels`, are the only classes that take part:
    /// folders and indices are then numbered among them.
    ///
    /// # Errors
    /// Folders without a class, too many or too few of them, indices that the model does not have.
    pub fn new(
        dataset: &Dataset,
        labels: &Labels,
        class_map: Option<&ClassMap>,
        valid: Option<Vec<usize>>,
    ) -> Result<Self, Error> {
        let classes = labels.len();
        check_valid(valid.as_deref().unwrap_or_default(), classes)?;
        let mut this = Self {
            of_folder: Vec::new(),
            valid,
            classes,
        };
        this.of_folder = match class_map {
            Some(map) => this.by_map(dataset, map)?,
            None => this.by_name(dataset, labels)?,
        };
        for sample in dataset.samples() {
            if let Label::Index(index) = sample.label {
                this.numbered(index, || sample.name.clone())?;
            }
        }
        Ok(this)
    }

    /// The model's class; none for [`Label::Unknown`].
    pub fn class(&self, label: Label) -> Option<usize> {
        match label {
            Label::Class(folder) => self.of_folder.get(folder).copied(),
            Label::Index(index) => self.place(index),
            Label::Unknown => None,
        }
    }

    /// The classes among which is chosen, if not all.
    pub fn valid(&self) -> Option<&[usize]> {
        self.valid.as_deref()
    }

    /// How many classes the model has.
    pub fn classes(&self) -> usize {
        self.classes
    }

    fn by_map(&self, dataset: &Dataset, map: &ClassMap) -> Result<Vec<usize>, Error> {
        let folders = unknown(dataset, |folder| map.0.contains_key(folder));
        if !folders.is_empty() {
            let place = "the class map";
            return Err(Error::UnknownClasses { place, folders });
        }
        let known = dataset
            .classes()
            .iter()
            .filter_map(|f| Some((f, *map.0.get(f)?)));
        known
            .map(|(folder, line)| self.numbered(line, || format!("folder {folder}")))
            .collect()
    }

    fn by_name(&self, dataset: &Dataset, labels: &Labels) -> Result<Vec<usize>, Error> {
        let folders = dataset.classes();
        let mut of_name = HashMap::new();
        for class in (0..self.classes).rev() {
            of_name.insert(labels.name(class), class);
        }
        let unknown = unknown(dataset, |folder| of_name.contains_key(folder));
        let taking_part = self.valid.as_ref().map_or(self.classes, Vec::len);
        if unknown.len() == folders.len() {
            if folders.len() != taking_part && !folders.is_empty() {
                let examples = (0..self.classes.min(5)).map(|class| labels.name(class));
                return Err(Error::ClassCount {
                    folders: folders.len(),
                    classes: taking_part,
                    examples: examples.collect(),
                });
            }
            return Ok((0..folders.len())
                .filter_map(|rank| self.place(rank))
                .collect());
        }
        if !unknown.is_empty() {
            return Err(Error::UnknownClasses {
                place: "the model",
                folders: unknown,
            });
        }
        let known = folders.iter().filter_map(|f| Some((f, *of_name.get(f)?)));
        known
            .map(|(folder, class)| match self.valid() {
                Some(valid) if !valid.contains(&class) => Err(Error::NotValid {
                    what: format!("folder {folder}"),
                    index: class,
                }),
                _ => Ok(class),
            })
            .collect()
    }

    /// The class of a number: among the valid ones where there are such.
    fn place(&self, number: usize) -> Option<usize> {
        match &self.valid {
            Some(valid) => valid.get(number).copied(),
            None => (number < self.classes).then_some(number),
        }
    }

    fn numbered(&self, number: usize, what: impl FnOnce() -> String) -> Result<usize, Error> {
        self.place(number).ok_or_else(|| Error::ClassIndex {
            what: what(),
            index: number,
            classes: self.valid.as_ref().map_or(self.classes, Vec::len),
        })
    }
}

fn unknown(dataset: &Dataset, known: impl Fn(&str) -> bool) -> Vec<String> {
    let folders = dataset.classes().iter();
    folders.filter(|folder| !known(folder)).cloned().collect()
}

fn check_valid(valid: &[usize], classes: usize) -> Result<(), Error> {
    match valid.iter().find(|&&class| class >= classes) {
        None => Ok(()),
        Some(&index) => Err(Error::ClassIndex {
            what: "a valid label".into(),
            index,
            classes,
        }),
    }
}

/// timm's `--class-map` in text: the class folder of index 0 in the first line, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassMap(HashMap<String, usize>);

impl ClassMap {
    /// Reads the file.
    ///
    /// # Errors
    /// One that cannot be read, or has the same folder twice.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = read_text(path)?;
        let mut of_name = HashMap::new();
        for (index, line) in text.trim_end().lines().enumerate() {
            let name = line.trim().to_owned();
            if let Some(first) = of_name.insert(name, index) {
                return Err(Error::File {
                    path: path.to_owned(),
                    reason: format!(
                        "lines {} and {} both say {:?}",
                        first + 1,
                        index + 1,
                        line.trim()
                    ),
                });
            }
        }
        Ok(Self(of_name))
    }
}

/// timm's `--valid-labels`: one class index a line.
///
/// # Errors
/// A file that cannot be read, a line that is no index, an index twice, no index at all.
pub fn read_valid_labels(path: &Path) -> Result<Vec<usize>, Error> {
    let failed = |reason: String| Error::File {
        path: path.to_owned(),
        reason,
    };
    let mut valid: Vec<usize> = Vec::new();
    for (at, line) in read_text(path)?.trim_end().lines().enumerate() {
        let index = line.trim().parse();
        let index =
            index.map_err(|_| failed(format!("line {} is {line:?}, not a class index", at + 1)))?;
        valid.push(index);
    }
    let mut sorted = valid.clone();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(failed(format!("class {} stands there twice", pair[0])));
    }
    if valid.is_empty() {
        return Err(failed("no class index in it".into()));
    }
    Ok(valid)
}

/// Lists of classes and labels have some megabytes at most (ReaL's: one).
const MOST_TEXT: u64 = 64 << 20;

pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    let failed = |reason| Error::File {
        path: path.to_owned(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(|e| failed(e.to_string()))?;
    let mut text = String::new();
    let read = file.take(MOST_TEXT + 1).read_to_string(&mut text);
    match read.map_err(|e| failed(e.to_string()))? as u64 {
        0..=MOST_TEXT => Ok(text),
        _ => Err(failed(format!(
            "more than {MOST_TEXT} bytes are no list of classes or labels"
        ))),
    }
}
