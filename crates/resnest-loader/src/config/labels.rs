//! Class names that come with a model.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::Result;
use crate::fields::Fields;

/// Names of classes by index, some of which may be missing, and longer descriptions by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    names: BTreeMap<usize, String>,
    descriptions: BTreeMap<String, String>,
}

impl Labels {
    /// Labels `0, 1, ...` without descriptions.
    pub fn from_names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter().map(Into::into).enumerate().collect();
        Self {
            names,
            descriptions: BTreeMap::new(),
        }
    }

    /// The name of class `index`.
    pub fn name(&self, index: usize) -> Option<&str> {
        self.names.get(&index).map(String::as_str)
    }

    /// The description of class `index`.
    pub fn description(&self, index: usize) -> Option<&str> {
        self.descriptions.get(self.name(index)?).map(String::as_str)
    }

    /// How many classes have a name.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no class has one.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The highest named index.
    pub fn last_index(&self) -> Option<usize> {
        self.names.last_key_value().map(|(index, _)| *index)
    }

    /// All names by index.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.names
            .iter()
            .map(|(index, name)| (*index, name.as_str()))
    }

    /// Reads `names` (a list, or an object with indices as keys) and `label_descriptions`.
    pub(crate) fn read(fields: &Fields<'_>, names: &str) -> Result<Option<Self>> {
        let Some(value) = fields.value(names) else {
            return Ok(None);
        };
        let names = match value {
            Value::Array(list) => {
                let text = |(i, v): (usize, &Value)| match v.as_str() {
                    Some(text) => Ok((i, text.to_string())),
                    None => Err(fields.error(&format!("{names}[{i}]"), "text was expected")),
                };
                list.iter().enumerate().map(text).collect::<Result<_>>()?
            }
            Value::Object(map) => {
                let entry = |(k, v): (&String, &Value)| match (k.parse(), v.as_str()) {
                    (Ok(index), Some(text)) => Ok((index, text.to_string())),
                    (Err(_), _) => {
                        Err(fields
                            .error(&format!("{names}.{k}"), "a class index was expected as key"))
                    }
                    (_, None) => Err(fields.error(&format!("{names}.{k}"), "text was expected")),
                };
                map.iter().map(entry).collect::<Result<_>>()?
            }
            _ => return Err(fields.error(names, "a list or an object of class names was expected")),
        };
        Ok(Some(Self {
            names,
            descriptions: descriptions(fields)?,
        }))
    }

    /// The fields `label_names` and `label_descriptions`.
    pub(crate) fn to_json(&self) -> (Value, Option<Value>) {
        let dense = self.last_index().is_none_or(|last| last + 1 == self.len());
        let names = if dense {
            Value::from(self.names.values().cloned().collect::<Vec<_>>())
        } else {
            Value::Object(
                self.names
                    .iter()
                    .map(|(i, n)| (i.to_string(), n.clone().into()))
                    .collect(),
            )
        };
        let text = self
            .descriptions
            .iter()
            .map(|(n, d)| (n.clone(), d.clone().into()))
            .collect();
        (
            names,
            (!self.descriptions.is_empty()).then_some(Value::Object(text)),
        )
    }
}

fn descriptions(fields: &Fields<'_>) -> Result<BTreeMap<String, String>> {
    let field = "label_descriptions";
    let Some(map) = fields.object(field)? else {
        return Ok(BTreeMap::new());
    };
    map.iter()
        .map(|(name, text)| match text.as_str() {
            Some(text) => Ok((name.clone(), text.to_string())),
            None => Err(fields.error(&format!("{field}.{name}"), "text was expected")),
        })
        .collect()
}
