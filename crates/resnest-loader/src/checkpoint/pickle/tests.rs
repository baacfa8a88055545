//! Pickles written by hand, opcode by opcode.

use super::machine::MAX_OPS;
use super::*;

fn problem(bytes: &[u8]) -> String {
    match read(bytes) {
        Err(Fault::Bad { problem, .. } | Fault::Short { problem, .. }) => problem,
        Err(Fault::Forbidden { global }) => format!("forbidden {global}"),
        Ok(pickle) => panic!("read as {:?}", pickle.root),
    }
}

fn root(bytes: &[u8]) -> Value {
    read(bytes).unwrap_or_else(|e| panic!("{e:?}")).root
}

#[test]
fn numbers_of_every_width_are_read() {
    assert_eq!(root(b"K\x07."), Value::Int(7));
    assert_eq!(root(b"M\x01\x02."), Value::Int(0x201));
    assert_eq!(root(b"J\xff\xff\xff\xff."), Value::Int(-1));
    assert_eq!(root(b"\x8a\x00."), Value::Int(0));
    assert_eq!(root(b"\x8a\x02\x00\xff."), Value::Int(-256));
    assert_eq!(root(b"\x8b\x01\x00\x00\x00\x7f."), Value::Int(127));
    assert_eq!(
        root(b"G\x3f\xf8\x00\x00\x00\x00\x00\x00."),
        Value::Float(1.5)
    );
    assert_eq!(root(b"I01\n."), Value::Bool(true));
    assert_eq!(root(b"L12L\n."), Value::Int(12));
    assert_eq!(problem(b"Ix\n."), "'x' is not a number");
}

#[test]
fn only_listed_globals_are_named_and_none_is_called() {
    for (bytes, global) in [
        (&b"cos\nsystem\n(S'x'\ntR."[..], "os.system"),
        (b"cposix\nsystem\n.", "posix.system"),
        (b"c__builtin__\neval\n.", "__builtin__.eval"),
        (
            b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.",
            "builtins.exec",
        ),
        (b"ctorch\nload\n.", "torch.load"),
        (
            b"ctorch.storage\n_load_from_bytes\n.",
            "torch.storage._load_from_bytes",
        ),
    ] {
        assert_eq!(problem(bytes), format!("forbidden {global}"));
    }
    // opcodes that look up or build by other means
    for op in [b'i', b'o', b'P', 0x82, 0x83, 0x84, 0x97, 0x98] {
        assert!(problem(&[op, b'.']).contains("unsupported"), "{op:#x}");
    }
}

#[test]
fn a_call_is_written_down() {
    let pickle = read(b"ctorch\nSize\n(K\x02K\x03tR.").unwrap();
    let Some(Node::Object { class, args }) = pickle.node(pickle.root) else {
        panic!("{:?}", pickle.node(pickle.root));
    };
    assert_eq!(class.to_string(), "torch.Size");
    assert_eq!(
        pickle.sequence(*args),
        Some(&[Value::Int(2), Value::Int(3)][..])
    );
    let ordered = read(b"ccollections\nOrderedDict\n)RX\x01\x00\x00\x00aK\x01s.").unwrap();
    assert_eq!(ordered.get(ordered.root, "a"), Some(Value::Int(1)));
    assert!(problem(b"K\x01)R.").contains("no global"));
}

#[test]
fn marks_and_the_empty_stack_are_respected() {
    assert_eq!(problem(b"."), "the stack is empty");
    assert_eq!(problem(b"K\x01(0."), "the stack is empty");
    assert_eq!(problem(b"t."), "no mark is set");
    assert_eq!(problem(b"}(K\x01u."), "a key without a value");
    assert!(problem(b"K\x01K\x02a.").contains("no container"));
    assert!(problem(b"}K\x02a.").contains("another kind"));
}

#[test]
fn huge_claims_cost_nothing() {
    for bytes in [
        &b"X\xff\xff\xff\xff."[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x8b\xff\xff\xff\xff.",
        b"B\xf0\xff\xff\xff.",
    ] {
        assert!(problem(bytes).contains("wanted"), "{bytes:?}");
    }
    // a memo index of four billion is one entry of a map
    assert_eq!(
        root(b"K\x01r\xff\xff\xff\xff0j\xff\xff\xff\xff."),
        Value::Int(1)
    );
    assert_eq!(problem(b"h\x05."), "memo 5 was never set");
}

#[test]
fn depth_costs_no_stack() {
    let mut deep = vec![b']'; 1_000_000];
    deep.extend(vec![b'a'; 999_999]);
    deep.push(b'.');
    drop(read(&deep).unwrap());
}

#[test]
fn memo_bombs_stay_as_small_as_they_are_written() {
    // every list holds the one before it twice: 2^60 leaves when walked
    let mut bomb = b"]q\x00".to_vec();
    for level in 1..60u8 {
        bomb.extend([
            b'0',
            b']',
            b'q',
            level,
            b'(',
            b'h',
            level - 1,
            b'h',
            level - 1,
            b'e',
        ]);
    }
    bomb.push(b'.');
    assert_eq!(read(&bomb).unwrap().nodes.len(), 60);
    // one long list of pairs made a mapping again and again: each copy is counted
    let mut copies = b"](".to_vec();
    copies.extend(b"K\x01K\x02\x86".repeat(10_000));
    copies.extend(b"eq\x000");
    copies.extend(b"ccollections\nOrderedDict\nh\x00\x85R0".repeat(1_000));
    assert!(problem(&copies).contains("items copied"));
}

#[test]
fn the_number_of_opcodes_is_bounded() {
    assert!(problem(&vec![b'N'; MAX_OPS + 1]).contains("opcodes"));
}
