//! Outcomes on disk, written as they come, so that a run can be gone on with.
//!
//! The file is JSON lines. A line with the field `validation` begins a model's part and says what it is of
//! ([`Header`]); each line after it is the [`Outcome`] of one image, in the data set's order.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::{Error, Evaluation};
use crate::Classifier;
use crate::output::lock;

/// The longest line that is read: names have some thousand bytes, all else is short.
const MOST_LINE: u64 = 1 << 20;

/// What a model's part of the file is of. Another run can go on from it only if all is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The layout of the file: 1.
    pub validation: u32,
    /// The model.
    pub model: String,
    /// Everything else that changes outcomes, such as sizes and filters, by name.
    #[serde(flatten)]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

impl Header {
    /// Of a model with its preprocessing; `settings`, an object, is what else outcomes depend on.
    pub fn new(classifier: &Classifier, settings: serde_json::Value) -> Self {
        let transform = classifier.transform();
        let own = serde_json::json!({
            "input_size": transform.size,
            "crop_pct": transform.crop_pct,
            "crop_mode": transform.crop_mode.name(),
            "interpolation": transform.interpolation.name(),
        });
        let objects = [own, settings].into_iter();
        Self {
            validation: 1,
            model: classifier.name().to_owned(),
            settings: objects
                .filter_map(|object| match object {
                    serde_json::Value::Object(map) => Some(map),
                    _ => None,
                })
                .flatten()
                .collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Header(Header),
    Outcome(Outcome),
}

/// An outcomes file that is being written, locked against other runs.
#[derive(Debug)]
pub struct OutcomesFile {
    path: PathBuf,
    out: BufWriter<File>,
    /// The model of the last part.
    last: Option<Header>,
}

impl OutcomesFile {
    /// A new file.
    ///
    /// # Errors
    /// One that is there already (it may hold hours of work), or cannot be made.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.and_then(|file| lock(&file).map(|_| file));
        Ok(Self::over(path, opened(path, file)?, None))
    }

    /// A file of an earlier run, to be written on; a new one where there is none. A last line that was cut off in the
    /// middle is dropped.
    ///
    /// # Errors
    /// One that cannot be read or written, that another run is writing, or that is no outcomes file.
    pub fn resume(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            return Self::create(path);
        }
        // Locked before it is read: what another run is writing looks cut off.
        let file = OpenOptions::new().write(true).open(path);
        let file = file.and_then(|file| lock(&file).map(|_| file));
        let mut file = opened(path, file)?;
        let mut last = None;
        let whole = read(path, |line| {
            if let Line::Header(header) = line {
                last = Some(header);
            }
            Ok(())
        })?;
        let cut = file.set_len(whole);
        let at_end = cut.and_then(|()| file.seek(SeekFrom::Start(whole)));
        opened(path, at_end)?;
        Ok(Self::over(path, file, last))
    }

    fn over(path: &Path, file: File, last: Option<Header>) -> Self {
        Self {
            path: path.to_owned(),
            out: BufWriter::new(file),
            last,
        }
    }

    /// Counts what the file has of this model, and begins its part if there is none.
    ///
    /// # Errors
    /// The same model with other settings (named); outcomes of another data set.
    pub fn begin(&mut self, header: &Header, evaluation: &mut Evaluation) -> Result<(), Error> {
        let (mut ours, mut begun) = (false, self.last.is_some());
        if begun {
            let path = self.path.clone();
            read(&path, |line| match line {
                Line::Header(found) => {
                    ours = found.model == header.model;
                    match ours {
                        true => same(&path, &found, header),
                        false => Ok(()),
                    }
                }
                Line::Outcome(outcome) if ours => evaluation.resume(&outcome),
                Line::Outcome(_) => Ok(()),
            })?;
            begun = self.last.as_ref() == Some(header);
        }
        if !begun {
            self.line(header)?;
            self.last = Some(header.clone());
        }
        Ok(())
    }

    /// Adds the outcome of the next image, at once in the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&mut self, outcome: &Outcome) -> Result<(), Error> {
        self.line(outcome)
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let written = serde_json::to_writer(&mut self.out, value)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .and_then(|()| self.out.flush());
        written.map_err(|e| failed(&self.path, e.to_string()))
    }
}

/// Reads line after line; gives the length of the whole lines.
fn read(path: &Path, mut each: impl FnMut(Line) -> Result<(), Error>) -> Result<u64, Error> {
    let file = opened(path, File::open(path))?;
    let (mut lines, mut text) = (BufReader::new(file), Vec::new());
    let (mut whole, mut number, mut begun) = (0u64, 0, false);
    loop {
        text.clear();
        let mut line = lines.by_ref().take(MOST_LINE);
        let length = opened(path, line.read_until(b'\n', &mut text))? as u64;
        number += 1;
        if text.last() != Some(&b'\n') {
            return match length < MOST_LINE {
                true => Ok(whole),
                false => Err(failed(
                    path,
                    format!(
                        "line {number} has more than {MOST_LINE} bytes: this is no outcomes file"
                    ),
                )),
            };
        }
        let line = serde_json::from_slice(&text).map_err(|_| {
            failed(
                path,
                format!("line {number} is no outcome: this is no outcomes file"),
            )
        })?;
        begun |= matches!(line, Line::Header(_));
        if !begun {
            return Err(failed(
                path,
                "does not begin with a model: this is no outcomes file".into(),
            ));
        }
        each(line)?;
        whole += length;
    }
}

/// Names what differs.
fn same(path: &Path, found: &Header, wanted: &Header) -> Result<(), Error> {
    let names = found.settings.keys().chain(wanted.settings.keys());
    let differs = |name: &&String| found.settings.get(*name) != wanted.settings.get(*name);
    let shown = |header: &Header, name: &String| match header.settings.get(name) {
        Some(value) => value.to_string(),
        None => "not given".into(),
    };
    match names.clone().find(differs) {
        None if found.validation == wanted.validation => Ok(()),
        None => Err(failed(
            path,
            "was written by another version: start anew".into(),
        )),
        Some(name) => Err(failed(
            path,
            format!(
                "is of {} with {name} {}, but now it is {}: start anew, or use the same options",
                found.model,
                shown(found, name),
                shown(wanted, name)
            ),
        )),
    }
}

/// What the system gave, or its reason with the file's name.
fn opened<T>(path: &Path, given: std::io::Result<T>) -> Result<T, Error> {
    given.map_err(|e| {
        let reason = match e.kind() {
            ErrorKind::AlreadyExists => {
                "is there already: go on from it with --resume, or remove it".into()
            }
            _ => e.to_string(),
        };
        failed(path, reason)
    })
}

fn failed(path: &Path, reason: String) -> Error {
    Error::File {
        path: path.to_owned(),
        reason,
    }
}
