//! From a pickle's inert values to tensors: timm's unwrapping rules and torch's rebuild calls.

use std::collections::HashMap;
use std::sync::Arc;

use super::pickle::{Fault, Global, Node, Pickle, Value};
use super::store::Store;
use super::tensor::{ElementType, TensorEntry};
use super::{Content, Stray};
use crate::error::{Error, Result};

/// Wrappers timm looks into, in its order (`_helpers.py`, `load_state_dict`), and whether a wrapper
/// holding `None` is passed over.
const WRAPPERS: [(&str, bool); 4] = [
    ("state_dict_ema", true),
    ("model_ema", true),
    ("state_dict", false),
    ("model", false),
];

/// A tensor expanded from a smaller storage may be this large even when its file is not.
const MAX_EXPANDED: usize = 1 << 24;

/// A storage as a persistent id describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StorageId<'a> {
    pub(crate) key: &'a str,
    /// `None` for an untyped storage, whose length then counts bytes.
    pub(crate) dtype: Option<ElementType>,
    pub(crate) length: usize,
    /// Elements the view starts at, where the storage is a view into another (legacy files only).
    pub(crate) view: usize,
}

impl StorageId<'_> {
    /// Bytes the whole storage takes; `None` on overflow.
    pub(crate) fn byte_length(&self) -> Option<usize> {
        self.length
            .checked_mul(self.dtype.map_or(1, ElementType::size))
    }
}

/// Where the storages of a file lie: key to first byte and length in bytes.
pub(crate) type Storages = HashMap<String, (usize, usize)>;

/// The state dict of a file whose pickle has been read and whose storages have been found.
pub(crate) struct StateDict<'p, 'a> {
    pub(crate) pickle: &'p Pickle<'a>,
    pub(crate) storages: &'p Storages,
    pub(crate) store: &'p Arc<Store>,
}

impl StateDict<'_, '_> {
    /// All tensors, under their names in the file.
    pub(crate) fn read(&self) -> Result<Content> {
        let (wrapper, dict) = self.unwrap()?;
        let Some(items) = self.pickle.dict(dict) else {
            return Err(self.format(format!(
                "a state dict was expected, {} was found",
                self.pickle.kind(dict)
            )));
        };
        let mut content = Content {
            wrapper: wrapper.map(str::to_string),
            ..Content::default()
        };
        for (key, value) in items {
            let Some(name) = self.pickle.str(*key) else {
                return Err(
                    self.format(format!("a state dict's key is {}", self.pickle.kind(*key)))
                );
            };
            match self.tensor(name, *value)? {
                Some(tensor) => content.tensors.push(tensor),
                None => content.strays.push(Stray {
                    name: name.to_string(),
                    what: self.pickle.kind(*value),
                }),
            }
        }
        Ok(content)
    }

    /// timm's rule: the first wrapper that is there, else the object itself.
    fn unwrap(&self) -> Result<(Option<&'static str>, Value)> {
        let root = self.pickle.root;
        for (key, skip_none) in WRAPPERS {
            match self.pickle.get(root, key) {
                Some(Value::None) if skip_none => {}
                // a state dict may have a parameter called `model`; only a dict can be a wrapper
                Some(value) if self.pickle.dict(value).is_some() => return Ok((Some(key), value)),
                Some(value) if self.tensor(key, value)?.is_none() => {
                    return Err(self.format(format!(
                        "'{key}' is {}, not a state dict",
                        self.pickle.kind(value)
                    )));
                }
                _ => {}
            }
        }
        Ok((None, root))
    }

    /// The tensor `value` rebuilds, or `None` when it is something else.
    fn tensor(&self, name: &str, mut value: Value) -> Result<Option<TensorEntry>> {
        // parameters wrap a tensor once; anything deeper is no checkpoint torch wrote
        for _ in 0..4 {
            let Some(Node::Object { class, args }) = self.pickle.node(value) else {
                return Ok(None);
            };
            let args = self.pickle.sequence(*args).unwrap_or_default();
            match (class.module, class.name) {
                ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                    value = args.first().copied().unwrap_or(Value::None);
                }
                ("torch._utils", rebuild) => return self.rebuild(name, rebuild, args).map(Some),
                ("torch._tensor", "_rebuild_from_type_v2") => {
                    return self.rebuild_from_type(name, args).map(Some);
                }
                _ => return Ok(None),
            }
        }
        Err(self.bad(name, "wrapped too often"))
    }

    /// `_rebuild_from_type_v2(function, type, arguments, state)`: a tensor with attributes of its own.
    fn rebuild_from_type(&self, name: &str, args: &[Value]) -> Result<TensorEntry> {
        let [function, _, arguments, ..] = args else {
            return Err(self.bad(name, "rebuilt with too few arguments"));
        };
        match self.pickle.node(*function) {
            Some(Node::Global(Global {
                module: "torch._utils",
                name: rebuild,
            })) => self.rebuild(
                name,
                rebuild,
                self.pickle.sequence(*arguments).unwrap_or_default(),
            ),
            _ => Err(self.bad(name, "rebuilt by an unknown function")),
        }
    }

    /// `_rebuild_tensor{,_v2,_v3}(storage, offset, size, stride, ...)`.
    fn rebuild(&self, name: &str, rebuild: &str, args: &[Value]) -> Result<TensorEntry> {
        let [storage, offset, size, stride, ..] = args else {
            return Err(self.bad(name, "rebuilt with too few arguments"));
        };
        let Some(Node::Persistent(id)) = self.pickle.node(*storage) else {
            return Err(self.bad(name, "its storage is no storage"));
        };
        let id = storage_id(self.pickle, *id).map_err(|problem| self.bad(name, problem))?;
        let declared = match (rebuild, args.get(6)) {
            ("_rebuild_tensor_v3", Some(dtype)) => dtype_global(self.pickle, *dtype),
            _ => id.dtype,
        };
        let dtype = declared.ok_or_else(|| self.bad(name, "its element type is unknown"))?;
        let place = Place {
            offset: self.length(name, *offset)?,
            shape: self.lengths(name, *size)?,
            strides: self.lengths(name, *stride)?,
        };
        self.place(name, &id, dtype, place)
    }

    /// Checks that every element lies inside the storage, and the storage inside the file.
    fn place(
        &self,
        name: &str,
        id: &StorageId<'_>,
        dtype: ElementType,
        place: Place,
    ) -> Result<TensorEntry> {
        let Some(&(start, length)) = self.storages.get(id.key) else {
            return Err(self.bad(name, format!("storage '{}' is not in the file", id.key)));
        };
        if id.byte_length() != Some(length) {
            return Err(self.bad(
                name,
                format!(
                    "storage '{}' holds {length} bytes, {} elements are claimed",
                    id.key, id.length
                ),
            ));
        }
        let offset = place.offset.checked_add(id.view);
        let span = place.span().zip(offset).and_then(|(span, offset)| {
            let end = if span == 0 {
                0
            } else {
                span.checked_add(offset)?
            };
            end.checked_mul(dtype.size()).filter(|end| *end <= length)
        });
        let elements = place
            .shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d));
        let bounded = elements.is_some_and(|n| n <= MAX_EXPANDED.max(self.store.len()));
        let (Some(offset), Some(_), true) = (offset, span, bounded) else {
            let Place {
                shape,
                strides,
                offset,
            } = &place;
            return Err(self.bad(name, format!(
                "shape {shape:?}, strides {strides:?}, offset {offset} reach outside storage '{}' of {length} bytes", id.key
            )));
        };
        let start = start.saturating_add(offset.saturating_mul(dtype.size()));
        let strides = (!place.is_contiguous()).then_some(place.strides);
        Ok(TensorEntry {
            name: name.to_string(),
            dtype,
            shape: place.shape,
            strides,
            start,
            store: Arc::clone(self.store),
            scales: None,
        })
    }

    fn length(&self, name: &str, value: Value) -> Result<usize> {
        match value {
            Value::Int(n) => {
                usize::try_from(n).map_err(|_| self.bad(name, format!("{n} is no length")))
            }
            other => Err(self.bad(name, format!("{} is no length", self.pickle.kind(other)))),
        }
    }

    fn lengths(&self, name: &str, value: Value) -> Result<Vec<usize>> {
        let value = match self.pickle.node(value) {
            // torch.Size((2, 3))
            Some(Node::Object { class, args }) if class.is("torch", "Size") => self
                .pickle
                .sequence(*args)
                .and_then(|args| args.first().copied())
                .unwrap_or(Value::None),
            _ => value,
        };
        let Some(items) = self.pickle.sequence(value) else {
            return Err(self.bad(name, format!("its shape is {}", self.pickle.kind(value))));
        };
        if items.len() > 16 {
            return Err(self.bad(name, format!("{} axes", items.len())));
        }
        items.iter().map(|item| self.length(name, *item)).collect()
    }

    fn bad(&self, tensor: &str, problem: impl Into<String>) -> Error {
        Error::Tensor {
            origin: self.store.origin().into(),
            tensor: tensor.into(),
            problem: problem.into(),
        }
    }

    fn format(&self, problem: String) -> Error {
        Error::Format {
            origin: self.store.origin().into(),
            problem,
        }
    }
}

/// A tensor's place in its storage, in elements.
struct Place {
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Place {
    /// Elements from the first to just past the last one touched; `None` when nonsense.
    fn span(&self) -> Option<usize> {
        if self.shape.len() != self.strides.len() {
            return None;
        }
        if self.shape.contains(&0) {
            return Some(0);
        }
        let steps = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(0usize, |sum, (d, s)| {
                sum.checked_add(d.checked_sub(1)?.checked_mul(*s)?)
            });
        steps?.checked_add(1)
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1usize;
        for (d, s) in self.shape.iter().zip(&self.strides).rev() {
            if *d != 1 && *s != expected {
                return false;
            }
            expected = expected.saturating_mul(*d);
        }
        true
    }
}

/// Reads the tuple `('storage', type, key, location, length[, view])` of a persistent id.
pub(crate) fn storage_id<'a>(
    pickle: &Pickle<'a>,
    id: Value,
) -> std::result::Result<StorageId<'a>, String> {
    let items = pickle.sequence(id).unwrap_or_default();
    let [kind, class, key, _location, length, rest @ ..] = items else {
        return Err(format!(
            "a persistent id is {} of {} items, not a storage's",
            pickle.kind(id),
            items.len()
        ));
    };
    if pickle.str(*kind) != Some("storage") {
        return Err("a persistent id that is not a storage's (a whole module was saved? save its state dict)".into());
    }
    let key = pickle.str(*key).ok_or("a storage's key is no text")?;
    let Value::Int(length) = length else {
        return Err(format!(
            "storage '{key}': its length is {}",
            pickle.kind(*length)
        ));
    };
    let length =
        usize::try_from(*length).map_err(|_| format!("storage '{key}': its length is {length}"))?;
    let dtype = storage_type(pickle, *class)
        .ok_or_else(|| format!("storage '{key}': unknown type {}", pickle.kind(*class)))?;
    let view = match rest.first().and_then(|view| pickle.sequence(*view)) {
        Some([_, Value::Int(offset), ..]) => {
            usize::try_from(*offset).map_err(|_| format!("storage '{key}': view at {offset}"))?
        }
        _ => 0,
    };
    Ok(StorageId {
        key,
        dtype,
        length,
        view,
    })
}

/// The element type of a storage class; the inner `None` is an untyped storage.
fn storage_type(pickle: &Pickle<'_>, class: Value) -> Option<Option<ElementType>> {
    let Some(Node::Global(Global { name, .. })) = pickle.node(class) else {
        return None;
    };
    Some(Some(match *name {
        "FloatStorage" => ElementType::F32,
        "DoubleStorage" => ElementType::F64,
        "HalfStorage" => ElementType::F16,
        "BFloat16Storage" => ElementType::BF16,
        "LongStorage" => ElementType::I64,
        "IntStorage" => ElementType::I32,
        "ShortStorage" => ElementType::I16,
        "CharStorage" => ElementType::I8,
        "ByteStorage" => ElementType::U8,
        "BoolStorage" => ElementType::Bool,
        "ComplexFloatStorage" => ElementType::C64,
        "UntypedStorage" => return Some(None),
        _ => return None,
    }))
}

/// The element type a `torch.<dtype>` global names.
fn dtype_global(pickle: &Pickle<'_>, value: Value) -> Option<ElementType> {
    let Some(Node::Global(Global {
        module: "torch",
        name,
    })) = pickle.node(value)
    else {
        return None;
    };
    Some(match *name {
        "float32" | "float" => ElementType::F32,
        "float64" | "double" => ElementType::F64,
        "float16" | "half" => ElementType::F16,
        "bfloat16" => ElementType::BF16,
        "int64" | "long" => ElementType::I64,
        "int32" | "int" => ElementType::I32,
        "int16" | "short" => ElementType::I16,
        "int8" => ElementType::I8,
        "uint8" => ElementType::U8,
        "uint16" => ElementType::U16,
        "uint32" => ElementType::U32,
        "uint64" => ElementType::U64,
        "bool" => ElementType::Bool,
        "complex64" => ElementType::C64,
        "float8_e4m3fn" => ElementType::F8E4M3,
        "float8_e5m2" => ElementType::F8E5M2,
        _ => return None,
    })
}

/// A pickle's fault as the crate's error.
pub(crate) fn fault(origin: &str, fault: Fault) -> Error {
    match fault {
        Fault::Bad { offset, problem } | Fault::Short { offset, problem } => Error::Pickle {
            origin: origin.into(),
            offset,
            problem,
        },
        Fault::Forbidden { global } => Error::ForbiddenGlobal {
            origin: origin.into(),
            global,
        },
    }
}
