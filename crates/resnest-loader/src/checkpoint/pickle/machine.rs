//! The stack machine: protocols 2 to 5, and the opcodes of protocols 0 and 1 that torch writes.

use std::collections::HashMap;

use super::reader::Reader;
use super::{Fault, Global, Node, Pickle, Value};

/// Opcodes read at most. The largest timm training checkpoints (weights, EMA, optimizer) need well
/// under a million; every value, memo slot and arena node costs one, so memory is bounded by this.
pub(crate) const MAX_OPS: usize = 4_000_000;

/// Reads one pickle from the front of `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<Pickle<'_>, Fault> {
    Machine::new(bytes).run()
}

/// The state of the machine while a pickle is read.
pub(crate) struct Machine<'a> {
    reader: Reader<'a>,
    stack: Vec<Value>,
    /// Stack heights at which a MARK was set.
    marks: Vec<usize>,
    /// Sparse, so that a huge memo index costs nothing.
    memo: HashMap<usize, Value>,
    nodes: Vec<Node<'a>>,
    /// Items copied by [`Self::mapping_items`].
    copied: usize,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let reader = Reader::new(bytes);
        Self {
            reader,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            nodes: Vec::new(),
            copied: 0,
        }
    }

    /// Runs to STOP.
    pub(crate) fn run(mut self) -> Result<Pickle<'a>, Fault> {
        for _ in 0..MAX_OPS {
            let op = self.reader.u8()?;
            if op == b'.' {
                let root = self.pop()?;
                return Ok(Pickle {
                    root,
                    nodes: self.nodes,
                    length: self.reader.at(),
                });
            }
            self.step(op)?;
        }
        Err(self.reader.fault(format!("more than {MAX_OPS} opcodes")))
    }

    fn step(&mut self, op: u8) -> Result<(), Fault> {
        match op {
            // PROTO; FRAME: neither carries meaning for a reader of whole buffers
            0x80 => self.protocol(),
            0x95 => self.reader.take(8).map(drop),
            b'(' => self.mark(),
            b'0' => self.pop().map(drop),
            b'1' => self.pop_mark().map(drop),
            b'2' => self.duplicate(),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' | b'K' | b'M' | 0x8a | 0x8b | b'I' | b'L' | b'G' | b'F' => self.number(op),
            b'X' | 0x8c | 0x8d | b'U' | b'T' => self.text(op),
            b'B' | b'C' | 0x8e | 0x96 => self.bytes(op),
            b']' | b')' | b'}' | 0x8f | b'l' | b't' | b'd' | 0x91 | 0x85..=0x87 => {
                self.container(op)
            }
            b'a' | b'e' | b's' | b'u' | 0x90 => self.extend(op),
            b'q' | b'r' | b'p' | 0x94 | b'h' | b'j' | b'g' => self.memo(op),
            b'c' | 0x93 => self.global(op),
            b'R' | 0x81 | 0x92 => self.call(op),
            b'b' => self.build(),
            b'Q' => self.persistent(),
            _ => Err(self
                .reader
                .fault(format!("opcode 0x{op:02x} is unknown or unsupported"))),
        }
    }

    fn protocol(&mut self) -> Result<(), Fault> {
        match self.reader.u8()? {
            0..=5 => Ok(()),
            other => Err(self.reader.fault(format!("protocol {other} is unknown"))),
        }
    }

    fn push(&mut self, value: Value) -> Result<(), Fault> {
        self.stack.push(value);
        Ok(())
    }

    fn push_node(&mut self, node: Node<'a>) -> Result<(), Fault> {
        self.nodes.push(node);
        self.push(Value::Node(self.nodes.len() - 1))
    }

    /// Pops a value, never one below the innermost mark.
    fn pop(&mut self) -> Result<Value, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.reader.fault("the stack is empty"));
        }
        self.stack
            .pop()
            .ok_or_else(|| self.reader.fault("the stack is empty"))
    }

    fn mark(&mut self) -> Result<(), Fault> {
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Everything above the innermost mark, which is removed.
    fn pop_mark(&mut self) -> Result<Vec<Value>, Fault> {
        let at = self
            .marks
            .pop()
            .ok_or_else(|| self.reader.fault("no mark is set"))?;
        if at > self.stack.len() {
            return Err(self.reader.fault("the stack is shorter than its mark"));
        }
        Ok(self.stack.split_off(at))
    }

    fn duplicate(&mut self) -> Result<(), Fault> {
        let top = self.pop()?;
        self.stack.push(top);
        self.push(top)
    }

    fn number(&mut self, op: u8) -> Result<(), Fault> {
        let value = match op {
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.reader.array()?))),
            b'K' => Value::Int(i64::from(self.reader.u8()?)),
            b'M' => Value::Int(i64::from(self.reader.u16()?)),
            b'G' => Value::Float(f64::from_be_bytes(self.reader.array()?)),
            0x8a => {
                let length = usize::from(self.reader.u8()?);
                return self.long(length);
            }
            0x8b => {
                let length = self.reader.u32_length()?;
                return self.long(length);
            }
            _ => return self.number_line(op),
        };
        self.push(value)
    }

    /// LONG1 and LONG4: little-endian two's complement of any length.
    fn long(&mut self, length: usize) -> Result<(), Fault> {
        let digits = self.reader.take(length)?;
        if digits.len() > 8 {
            return self.push_node(Node::BigInt(digits));
        }
        let negative = digits.last().is_some_and(|top| top & 0x80 != 0);
        let mut full = if negative { [0xff; 8] } else { [0; 8] };
        for (to, from) in full.iter_mut().zip(digits) {
            *to = *from;
        }
        self.push(Value::Int(i64::from_le_bytes(full)))
    }

    /// INT, LONG and FLOAT of protocol 0: decimal text on a line.
    fn number_line(&mut self, op: u8) -> Result<(), Fault> {
        let line = self.reader.line()?;
        let value = match (op, line) {
            (b'I', "01") => Some(Value::Bool(true)),
            (b'I', "00") => Some(Value::Bool(false)),
            (b'F', text) => text.parse().ok().map(Value::Float),
            (_, text) => text.trim_end_matches('L').parse().ok().map(Value::Int),
        };
        let value = value.ok_or_else(|| {
            self.reader
                .fault(format!("'{}' is not a number", line.escape_debug()))
        })?;
        self.push(value)
    }

    fn text(&mut self, op: u8) -> Result<(), Fault> {
        let length = match op {
            0x8c | b'U' => usize::from(self.reader.u8()?),
            0x8d => self.reader.u64_length()?,
            _ => self.reader.u32_length()?,
        };
        // SHORT_BINSTRING and BINSTRING are Python 2's byte strings: text where it is ASCII
        if matches!(op, b'U' | b'T') {
            let bytes = self.reader.take(length)?;
            return match std::str::from_utf8(bytes) {
                Ok(text) => self.push_node(Node::Str(text)),
                Err(_) => self.push_node(Node::Bytes),
            };
        }
        let text = self.reader.str(length)?;
        self.push_node(Node::Str(text))
    }

    fn bytes(&mut self, op: u8) -> Result<(), Fault> {
        let length = match op {
            b'C' => usize::from(self.reader.u8()?),
            b'B' => self.reader.u32_length()?,
            _ => self.reader.u64_length()?,
        };
        self.reader.take(length)?;
        self.push_node(Node::Bytes)
    }

    fn container(&mut self, op: u8) -> Result<(), Fault> {
        let node = match op {
            b']' => Node::List(Vec::new()),
            b')' => Node::Tuple(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            0x8f => Node::Set(Vec::new()),
            b'l' => Node::List(self.pop_mark()?),
            b't' => Node::Tuple(self.pop_mark()?),
            0x91 => Node::Set(self.pop_mark()?),
            b'd' => Node::Dict(self.pairs()?),
            _ => {
                // TUPLE1, TUPLE2, TUPLE3
                let mut items = Vec::new();
                for _ in 0..=(op - 0x85) {
                    items.push(self.pop()?);
                }
                items.reverse();
                Node::Tuple(items)
            }
        };
        self.push_node(node)
    }

    /// Everything above the mark as keys and values.
    fn pairs(&mut self) -> Result<Vec<(Value, Value)>, Fault> {
        let items = self.pop_mark()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.reader.fault("a key without a value"));
        }
        Ok(pairs.iter().map(|[k, v]| (*k, *v)).collect())
    }

    /// APPEND, APPENDS, SETITEM, SETITEMS, ADDITEMS.
    fn extend(&mut self, op: u8) -> Result<(), Fault> {
        let (pairs, items) = match op {
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                (vec![(key, value)], vec![])
            }
            b'u' => (self.pairs()?, vec![]),
            b'a' => (vec![], vec![self.pop()?]),
            _ => (vec![], self.pop_mark()?),
        };
        let target = self.pop()?;
        self.stack.push(target);
        let Value::Node(index) = target else {
            return Err(self
                .reader
                .fault("items for something that is no container"));
        };
        match (self.nodes.get_mut(index), op) {
            (Some(Node::Dict(to)), b's' | b'u') => to.extend(pairs),
            (Some(Node::List(to)), b'a' | b'e') => to.extend(items),
            (Some(Node::Set(to)), 0x90) => to.extend(items),
            // items of a dict or list subclass kept as an object: nothing here looks into them
            (Some(Node::Object { .. }), _) => {}
            _ => return Err(self.reader.fault("items for a container of another kind")),
        }
        Ok(())
    }

    fn memo(&mut self, op: u8) -> Result<(), Fault> {
        let index = match op {
            0x94 => self.memo.len(),
            b'q' | b'h' => usize::from(self.reader.u8()?),
            b'r' | b'j' => self.reader.u32_length()?,
            _ => {
                let line = self.reader.line()?;
                line.parse()
                    .map_err(|_| self.reader.fault("a memo index that is no number"))?
            }
        };
        if matches!(op, b'h' | b'j' | b'g') {
            let value = self.memo.get(&index).copied();
            let value =
                value.ok_or_else(|| self.reader.fault(format!("memo {index} was never set")))?;
            return self.push(value);
        }
        let top = self.pop()?;
        self.stack.push(top);
        self.memo.insert(index, top);
        Ok(())
    }

    /// GLOBAL and STACK_GLOBAL.
    fn global(&mut self, op: u8) -> Result<(), Fault> {
        let (module, name) = if op == b'c' {
            (self.reader.line()?, self.reader.line()?)
        } else {
            let name = self.pop()?;
            let module = self.pop()?;
            (self.global_part(module)?, self.global_part(name)?)
        };
        let global = Global { module, name };
        if !global.is_allowed() {
            return Err(Fault::Forbidden {
                global: global.to_string(),
            });
        }
        self.push_node(Node::Global(global))
    }

    fn global_part(&self, value: Value) -> Result<&'a str, Fault> {
        match self.node(value) {
            Some(Node::Str(text)) => Ok(text),
            _ => Err(self.reader.fault("a global whose name is no text")),
        }
    }

    fn node(&self, value: Value) -> Option<&Node<'a>> {
        match value {
            Value::Node(index) => self.nodes.get(index),
            _ => None,
        }
    }

    /// REDUCE, NEWOBJ and NEWOBJ_EX: the call is written down, not made.
    fn call(&mut self, op: u8) -> Result<(), Fault> {
        if op == 0x92 {
            self.pop()?; // keyword arguments
        }
        let args = self.pop()?;
        let callee = self.pop()?;
        let Some(Node::Global(class)) = self.node(callee) else {
            return Err(self.reader.fault("a call of something that is no global"));
        };
        let class = *class;
        let node = if class.is_mapping() {
            Node::Dict(self.mapping_items(args)?)
        } else {
            Node::Object { class, args }
        };
        self.push_node(node)
    }

    /// The items of `OrderedDict([[key, value], ...])`, which Python 2 wrote; otherwise none.
    fn mapping_items(&mut self, args: Value) -> Result<Vec<(Value, Value)>, Fault> {
        let first = match self.node(args) {
            Some(Node::Tuple(items)) => items.first().copied(),
            _ => None,
        };
        let Some(Node::List(pairs)) = first.and_then(|value| self.node(value)) else {
            return Ok(Vec::new());
        };
        let pair = |value: &Value| match self.node(*value) {
            Some(Node::List(kv) | Node::Tuple(kv)) => match kv.as_slice() {
                [key, value] => Some((*key, *value)),
                _ => None,
            },
            _ => None,
        };
        let items: Option<Vec<_>> = pairs.iter().map(pair).collect();
        let items = items.ok_or_else(|| {
            self.reader
                .fault("a mapping made of something else than pairs")
        })?;
        // one list can be named in many calls: the copies are counted, or memory would be unbounded
        self.copied += items.len();
        if self.copied > MAX_OPS {
            return Err(self
                .reader
                .fault(format!("more than {MAX_OPS} items copied")));
        }
        Ok(items)
    }

    /// BUILD: an object's attributes. No attribute matters for weights (an OrderedDict's `_metadata`,
    /// a Namespace's fields), so the state is dropped and the object stays as it is.
    fn build(&mut self) -> Result<(), Fault> {
        self.pop()?;
        let target = self.pop()?;
        self.push(target)
    }

    fn persistent(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        self.push_node(Node::Persistent(id))
    }
}
