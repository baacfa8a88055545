//! Typed access to the fields of a JSON object, with errors that name the file and the field.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// What the object belongs to, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner<'a> {
    Config { origin: &'a str },
    Manifest { file: &'a str, entry: &'a str },
}

impl Owner<'_> {
    pub(crate) fn error(&self, field: impl Into<String>, problem: impl Into<String>) -> Error {
        let (field, problem) = (field.into(), problem.into());
        match self {
            Owner::Config { origin } => Error::Config {
                origin: origin.to_string(),
                field,
                problem,
            },
            Owner::Manifest { file, entry } => Error::Manifest {
                file: file.to_string(),
                entry: entry.to_string(),
                field,
                problem,
            },
        }
    }
}

/// An object and where it lies. A field that is `null` counts as absent, as in timm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) map: &'a Map<String, Value>,
    pub(crate) owner: Owner<'a>,
    /// Put in front of field names, such as `pretrained_cfg.`.
    pub(crate) path: &'a str,
}

impl<'a> Fields<'a> {
    pub(crate) fn error(&self, field: &str, problem: impl Into<String>) -> Error {
        self.owner.error(format!("{}{field}", self.path), problem)
    }

    pub(crate) fn value(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|v| !v.is_null())
    }

    fn read<T>(
        &self,
        field: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(field) else {
            return Ok(None);
        };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(self.error(
                field,
                format!("{wanted} was expected, {} found", brief(value)),
            )),
        }
    }

    pub(crate) fn usize(&self, field: &str) -> Result<Option<usize>> {
        self.read(field, "a whole number", as_usize)
    }

    pub(crate) fn positive(&self, field: &str) -> Result<Option<usize>> {
        self.read(field, "a whole number above 0", |v| {
            as_usize(v).filter(|n| *n > 0)
        })
    }

    pub(crate) fn bool(&self, field: &str) -> Result<Option<bool>> {
        self.read(field, "true or false", Value::as_bool)
    }

    pub(crate) fn number(&self, field: &str) -> Result<Option<f64>> {
        self.read(field, "a number", as_number)
    }

    pub(crate) fn string(&self, field: &str) -> Result<Option<String>> {
        self.read(field, "text", |v| v.as_str().map(str::to_string))
    }

    /// A text, or a list of texts.
    pub(crate) fn strings(&self, field: &str) -> Result<Option<Vec<String>>> {
        self.read(field, "a list of texts", |v| match v {
            Value::String(one) => Some(vec![one.clone()]),
            _ => list(v, |v| v.as_str().map(str::to_string)),
        })
    }

    pub(crate) fn numbers(&self, field: &str) -> Result<Option<Vec<f64>>> {
        self.read(field, "a list of numbers", |v| list(v, as_number))
    }

    pub(crate) fn sizes<const N: usize>(&self, field: &str) -> Result<Option<[usize; N]>> {
        self.read(
            field,
            &format!("a list of {N} whole numbers above 0"),
            |v| list(v, |v| as_usize(v).filter(|n| *n > 0))?.try_into().ok(),
        )
    }

    pub(crate) fn object(&self, field: &str) -> Result<Option<&'a Map<String, Value>>> {
        self.read(field, "an object", Value::as_object)
    }
}

/// A whole number, also where it is written as `7.0`.
fn as_usize(value: &Value) -> Option<usize> {
    if let Some(n) = value.as_u64() {
        return usize::try_from(n).ok();
    }
    let float = value.as_f64()?;
    (float.fract() == 0.0 && (0.0..9e15).contains(&float)).then_some(float as usize)
}

fn as_number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|n| n.is_finite())
}

fn list<'a, T>(value: &'a Value, read: impl Fn(&'a Value) -> Option<T>) -> Option<Vec<T>> {
    value.as_array()?.iter().map(read).collect()
}

/// A value, cut to what fits a message.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
