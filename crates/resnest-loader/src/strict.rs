//! The strict check: everything in which a checkpoint differs from a network, in one report.

use std::collections::{HashMap, HashSet};
use std::fmt;

use resnest_model::{ResNetConfig, TensorSpec, expected_tensors};

use crate::checkpoint::{Checkpoint, ElementType};
use crate::error::{Error, Result};

/// How many entries of a list [`StrictReport`]'s text shows; the fields have all.
const SHOWN: usize = 12;
/// Above this many name pairs only the entries that are shown get a nearest name.
const MAX_PAIRS: usize = 200_000;

/// A tensor the network needs and the checkpoint lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// The shape it should have.
    pub shape: Vec<usize>,
    /// The most similar name among the unexpected ones.
    pub nearest: Option<String>,
}

/// Something in the checkpoint that the network has no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unexpected {
    /// Its name.
    pub name: String,
    /// Type and shape, or what it is instead of a tensor.
    pub what: String,
    /// The most similar name among the missing ones.
    pub nearest: Option<String>,
}

/// A tensor of the wrong shape.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Misshaped {
    /// Its name.
    pub name: String,
    /// The network's shape.
    pub expected: Vec<usize>,
    /// The checkpoint's shape.
    pub found: Vec<usize>,
}

/// A tensor whose elements cannot be weights.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrongType {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub found: ElementType,
}

/// The differences between a checkpoint and a network. Its text lists every kind of difference, each shortened to a screenful.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StrictReport {
    /// The checkpoint.
    pub origin: String,
    /// Tensors the network needs.
    pub expected: usize,
    /// Tensors that fit.
    pub matched: usize,
    /// `num_batches_tracked` counters, which inference has no use for.
    pub ignored: usize,
    /// Needed, not there.
    pub missing: Vec<Missing>,
    /// There, not needed.
    pub unexpected: Vec<Unexpected>,
    /// Of another shape.
    pub misshaped: Vec<Misshaped>,
    /// Not floating point.
    pub wrong_type: Vec<WrongType>,
    /// The classifier's name; when it alone is misshaped, the text has the ways out.
    pub classifier: String,
}

impl StrictReport {
    /// Whether the checkpoint fits exactly.
    pub fn is_ok(&self) -> bool {
        self.problems() == 0
    }

    /// The number of differences.
    pub fn problems(&self) -> usize {
        self.missing.len() + self.unexpected.len() + self.misshaped.len() + self.wrong_type.len()
    }

    /// The report as an error when anything differs.
    ///
    /// # Errors
    /// [`Error::Strict`] holding the report.
    pub fn into_result(self) -> Result<Self> {
        if self.is_ok() {
            Ok(self)
        } else {
            Err(Error::Strict(Box::new(self)))
        }
    }
}

/// Compares a checkpoint with the network of `config`, without building it.
///
/// # Errors
/// [`Error::Model`] when `config` itself makes no network. Differences are no error here.
pub fn check(checkpoint: &Checkpoint, config: &ResNetConfig) -> Result<StrictReport> {
    compare(checkpoint, config, &Exempt::default(), config.classifier())
}

/// Names that an adaptation takes care of, so that the strict check leaves them out.
#[derive(Debug, Default)]
pub(crate) struct Exempt {
    /// Built anew or adapted: whatever the checkpoint has under these names is no difference.
    pub(crate) replaced: HashSet<String>,
    /// In the checkpoint and knowingly left out.
    pub(crate) dropped: HashSet<String>,
}

pub(crate) fn compare(
    checkpoint: &Checkpoint,
    config: &ResNetConfig,
    exempt: &Exempt,
    classifier: &str,
) -> Result<StrictReport> {
    let specs = expected_tensors(config).map_err(|e| Error::Model(Box::new(e)))?;
    let mut report = StrictReport {
        origin: checkpoint.origin().to_string(),
        expected: specs.len(),
        classifier: classifier.to_string(),
        ..StrictReport::default()
    };
    for spec in specs
        .iter()
        .filter(|spec| !exempt.replaced.contains(&spec.name))
    {
        judge(&mut report, checkpoint, spec);
    }
    let known: HashMap<&str, &TensorSpec> = specs.iter().map(|s| (s.name.as_str(), s)).collect();
    for tensor in checkpoint.tensors() {
        let name = tensor.name();
        if known.contains_key(name) || exempt.dropped.contains(name) {
            continue;
        }
        if is_counter(name, &known) {
            report.ignored += 1;
            continue;
        }
        let what = format!("{} {:?}", tensor.dtype(), tensor.shape());
        report.unexpected.push(Unexpected {
            name: name.to_string(),
            what,
            nearest: None,
        });
    }
    for stray in checkpoint.strays() {
        report.unexpected.push(Unexpected {
            name: stray.name.clone(),
            what: stray.what.clone(),
            nearest: None,
        });
    }
    name_neighbours(&mut report, &specs);
    Ok(report)
}

fn judge(report: &mut StrictReport, checkpoint: &Checkpoint, spec: &TensorSpec) {
    let TensorSpec { name, shape } = spec;
    let Some(tensor) = checkpoint.get(name) else {
        report.missing.push(Missing {
            name: name.clone(),
            shape: shape.clone(),
            nearest: None,
        });
        return;
    };
    let fits = tensor.shape() == shape.as_slice();
    if !fits {
        let found = tensor.shape().to_vec();
        report.misshaped.push(Misshaped {
            name: name.clone(),
            expected: shape.clone(),
            found,
        });
    }
    if !tensor.is_weight() {
        report.wrong_type.push(WrongType {
            name: name.clone(),
            found: tensor.dtype(),
        });
    } else if fits {
        report.matched += 1;
    }
}

/// `num_batches_tracked` of a norm the network has. Of any other it is unexpected like all else.
fn is_counter(name: &str, known: &HashMap<&str, &TensorSpec>) -> bool {
    name.strip_suffix(".num_batches_tracked")
        .is_some_and(|norm| known.contains_key(format!("{norm}.running_mean").as_str()))
}

/// Fills in the nearest names: a misnamed tensor is one missing and one unexpected entry.
fn name_neighbours(report: &mut StrictReport, specs: &[TensorSpec]) {
    let missing: Vec<String> = report.missing.iter().map(|m| m.name.clone()).collect();
    let unexpected: Vec<String> = report.unexpected.iter().map(|u| u.name.clone()).collect();
    let all: Vec<String> = specs.iter().map(|s| s.name.clone()).collect();
    // what is unexpected while nothing is missing is compared with everything the network has
    let candidates = if missing.is_empty() { &all } else { &missing };
    let (entries, compared) = affordable(missing.len(), &unexpected);
    for entry in report.missing.iter_mut().take(entries) {
        entry.nearest = closest(&entry.name, compared);
    }
    let (entries, compared) = affordable(unexpected.len(), candidates);
    for entry in report.unexpected.iter_mut().take(entries) {
        entry.nearest = closest(&entry.name, compared);
    }
}

/// How many entries are compared with which names, so that no report makes more than [`MAX_PAIRS`] pairs:
/// the entries shown, and with millions of names the first of them.
fn affordable(entries: usize, candidates: &[String]) -> (usize, &[String]) {
    if entries.saturating_mul(candidates.len()) <= MAX_PAIRS {
        return (entries, candidates);
    }
    let most = candidates.len().min(MAX_PAIRS / SHOWN);
    (SHOWN, candidates.get(..most).unwrap_or_default())
}

fn closest(name: &str, candidates: &[String]) -> Option<String> {
    // pickles and headers may carry names of any length; nobody reads a comparison of kilobytes
    let sane = |s: &str| s.len() <= 256;
    candidates
        .iter()
        .filter(|c| sane(c) && sane(name))
        .map(|c| (strsim::normalized_levenshtein(name, c), c))
        .filter(|(score, _)| *score >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c.clone())
}

impl fmt::Display for StrictReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ok() {
            return write!(f, "{}: all {} tensors fit", self.origin, self.expected);
        }
        let (fit, all) = (self.matched, self.expected);
        write!(
            f,
            "{} does not fit the network: {fit} of {all} tensors do",
            self.origin
        )?;
        list(f, "missing", &self.missing, |m| {
            format!("{} {:?}{}", m.name, m.shape, hint(&m.nearest))
        })?;
        list(f, "unexpected", &self.unexpected, |u| {
            format!("{} {}{}", u.name, u.what, hint(&u.nearest))
        })?;
        list(f, "misshaped", &self.misshaped, |m| {
            format!(
                "{}: the network needs {:?}, the file has {:?}",
                m.name, m.expected, m.found
            )
        })?;
        list(f, "wrong type", &self.wrong_type, |w| {
            format!("{}: {}, not floating point", w.name, w.found)
        })?;
        let head = format!("{}.", self.classifier);
        if !self.misshaped.is_empty() && self.misshaped.iter().all(|m| m.name.starts_with(&head)) {
            write!(
                f,
                "\n  only the classifier differs: set num_classes to the file's, or ask for a new head (HeadPolicy::Replace)"
            )?;
        }
        Ok(())
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    entries: &[T],
    line: impl Fn(&T) -> String,
) -> fmt::Result {
    if entries.is_empty() {
        return Ok(());
    }
    write!(f, "\n  {title} ({}):", entries.len())?;
    for entry in entries.iter().take(SHOWN) {
        write!(f, "\n    {}", line(entry))?;
    }
    if entries.len() > SHOWN {
        write!(f, "\n    ... and {} more", entries.len() - SHOWN)?;
    }
    Ok(())
}

fn hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|n| format!(" (nearest: {n})"))
        .unwrap_or_default()
}
