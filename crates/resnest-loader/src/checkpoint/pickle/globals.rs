//! The names a pickle may mention.
//!
//! Listed is what checkpoints written by torch and timm contain: the types torch's own
//! `weights_only` unpickler admits, `argparse.Namespace` (timm's training arguments, which timm adds to
//! that list in `_helpers.py`), and numpy scalars (metrics). All stay inert: even a listed name is only
//! ever compared with, never called.

use std::fmt;

/// A `module.name` the pickle refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Global<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
}

impl fmt::Display for Global<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

const ALLOWED: &[(&str, &[&str])] = &[
    ("collections", &["OrderedDict", "defaultdict", "Counter"]),
    (
        "builtins",
        &[
            "set",
            "frozenset",
            "dict",
            "list",
            "tuple",
            "int",
            "float",
            "bool",
            "str",
            "bytes",
            "bytearray",
            "complex",
            "slice",
            "range",
        ],
    ),
    (
        "__builtin__",
        &[
            "set",
            "frozenset",
            "dict",
            "list",
            "tuple",
            "int",
            "float",
            "bool",
            "str",
            "bytearray",
            "complex",
            "long",
            "unicode",
            "slice",
            "xrange",
        ],
    ),
    ("argparse", &["Namespace"]),
    ("_codecs", &["encode"]),
    (
        "datetime",
        &["date", "datetime", "time", "timedelta", "timezone"],
    ),
    (
        "torch",
        &[
            "Size",
            "device",
            "Tensor",
            "FloatStorage",
            "DoubleStorage",
            "HalfStorage",
            "BFloat16Storage",
            "LongStorage",
            "IntStorage",
            "ShortStorage",
            "CharStorage",
            "ByteStorage",
            "BoolStorage",
            "ComplexFloatStorage",
            "float32",
            "float",
            "float64",
            "double",
            "float16",
            "half",
            "bfloat16",
            "int64",
            "long",
            "int32",
            "int",
            "int16",
            "short",
            "int8",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "bool",
            "complex64",
            "float8_e4m3fn",
            "float8_e5m2",
            "strided",
            "contiguous_format",
            "channels_last",
            "preserve_format",
        ],
    ),
    // before torch 0.4 a storage on a GPU was saved under its own type
    (
        "torch.cuda",
        &[
            "FloatStorage",
            "DoubleStorage",
            "HalfStorage",
            "LongStorage",
            "IntStorage",
            "ByteStorage",
        ],
    ),
    (
        "torch._utils",
        &[
            "_rebuild_tensor",
            "_rebuild_tensor_v2",
            "_rebuild_tensor_v3",
            "_rebuild_parameter",
            "_rebuild_parameter_with_state",
        ],
    ),
    ("torch._tensor", &["_rebuild_from_type_v2"]),
    ("torch.storage", &["UntypedStorage", "TypedStorage"]),
    ("torch.nn.parameter", &["Parameter"]),
    ("torch.serialization", &["_get_layout"]),
    ("torch.torch_version", &["TorchVersion"]),
    (
        "numpy",
        &[
            "dtype", "ndarray", "float64", "float32", "float16", "int64", "int32", "bool_", "bool",
        ],
    ),
    ("numpy.core.multiarray", &["scalar", "_reconstruct"]),
    ("numpy._core.multiarray", &["scalar", "_reconstruct"]),
    (
        "numpy.dtypes",
        &[
            "Float64DType",
            "Float32DType",
            "Float16DType",
            "Int64DType",
            "Int32DType",
            "BoolDType",
        ],
    ),
];

impl Global<'_> {
    /// Whether the name is on the list.
    pub(crate) fn is_allowed(&self) -> bool {
        ALLOWED
            .iter()
            .any(|(module, names)| *module == self.module && names.contains(&self.name))
    }

    /// Whether this is `module.name`.
    pub(crate) fn is(&self, module: &str, name: &str) -> bool {
        self.module == module && self.name == name
    }

    /// Whether calling it without state gives a mapping.
    pub(crate) fn is_mapping(&self) -> bool {
        matches!(
            (self.module, self.name),
            ("collections", "OrderedDict" | "defaultdict" | "Counter")
                | ("builtins" | "__builtin__", "dict")
        )
    }
}
