//! A reader of Python pickles that treats them as data.
//!
//! A pickle is a program for a small stack machine. This one builds inert values only: a global is
//! kept as its name, a call as "this name with these arguments", and nothing is ever executed. A
//! global outside the allow-list (`globals.rs`) ends the reading with its name.
//!
//! All containers live in one arena and refer to each other by index. So nesting of any depth, cycles
//! and memo tricks cost no recursion, neither when read nor when dropped, and memory is bounded by the
//! number of opcodes, which is bounded in turn (`machine::MAX_OPS`).

mod globals;
mod machine;
mod reader;

pub(crate) use globals::Global;
pub(crate) use machine::read;

/// A pickle longer than this is refused: the opcodes allowed (`machine::MAX_OPS`) take far less, and tensors'
/// elements lie outside of it.
pub(crate) const MAX_BYTES: usize = 256 << 20;

/// Why and where a pickle could not be read.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The bytes are not a pickle this reader knows.
    Bad { offset: usize, problem: String },
    /// The bytes end before the pickle does.
    Short { offset: usize, problem: String },
    /// A global outside the allow-list.
    Forbidden { global: String },
}

/// A value: small ones in place, others by their index in the arena.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Node(usize),
}

/// What the arena holds. Text and bytes borrow from the pickle.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    Str(&'a str),
    /// Bytes; what they are is of no use here.
    Bytes,
    /// An integer that does not fit 64 bits, as little-endian two's complement.
    BigInt(&'a [u8]),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Set(Vec<Value>),
    /// A dict or OrderedDict, in order.
    Dict(Vec<(Value, Value)>),
    Global(Global<'a>),
    /// `class(*args)`, kept and not called.
    Object {
        class: Global<'a>,
        args: Value,
    },
    /// What a persistent id refers to: the tuple describing a storage.
    Persistent(Value),
}

/// A pickle read to its end.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub(crate) root: Value,
    pub(crate) nodes: Vec<Node<'a>>,
    /// Bytes read, the final STOP included.
    pub(crate) length: usize,
}

impl<'a> Pickle<'a> {
    pub(crate) fn node(&self, value: Value) -> Option<&Node<'a>> {
        match value {
            Value::Node(index) => self.nodes.get(index),
            _ => None,
        }
    }

    pub(crate) fn str(&self, value: Value) -> Option<&'a str> {
        match self.node(value)? {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.node(value)? {
            Node::Dict(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a tuple or list.
    pub(crate) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value under a text key; the last one when it was set twice, as in Python.
    pub(crate) fn get(&self, dict: Value, key: &str) -> Option<Value> {
        let items = self.dict(dict)?;
        items
            .iter()
            .rev()
            .find(|(k, _)| self.str(*k) == Some(key))
            .map(|(_, v)| *v)
    }

    /// A word for messages: what kind of value this is.
    pub(crate) fn kind(&self, value: Value) -> String {
        match value {
            Value::None => "None".into(),
            Value::Bool(_) => "a bool".into(),
            Value::Int(_) => "an int".into(),
            Value::Float(_) => "a float".into(),
            Value::Node(_) => match self.node(value) {
                Some(Node::Str(_)) => "a str".into(),
                Some(Node::Bytes) => "bytes".into(),
                Some(Node::BigInt(_)) => "an int".into(),
                Some(Node::List(_)) => "a list".into(),
                Some(Node::Tuple(_)) => "a tuple".into(),
                Some(Node::Set(_)) => "a set".into(),
                Some(Node::Dict(_)) => "a dict".into(),
                Some(Node::Global(global)) => format!("the name {global}"),
                Some(Node::Object { class, .. }) => format!("a {class}"),
                Some(Node::Persistent(_)) => "a storage".into(),
                None => "nothing".into(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
