//! numpy's `.npy` format 1.0 (numpy/lib/format.py): what stands before the values of an f32 array in C order.

/// The bytes of every header: magic number, version, length.
const BEFORE: usize = 10;

/// numpy begins the values at a multiple of this.
const ALIGNMENT: usize = 64;

/// Everything before the values of an array of this shape, whose f32 follow in little-endian bytes.
pub(crate) fn header(shape: &[usize]) -> Vec<u8> {
    // A tuple of one has a comma behind it, as in Python.
    let sides: Vec<String> = shape.iter().map(|side| format!("{side},")).collect();
    let sides = match shape.len() {
        1 => sides.concat(),
        _ => sides.join(" ").trim_end_matches(',').to_owned(),
    };
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sides}), }}");
    let len = (BEFORE + text.len() + 1).next_multiple_of(ALIGNMENT) - BEFORE;
    // Of a shape that fits into memory the text is far below 64 KiB.
    let mut out = b"\x93NUMPY\x01\0".to_vec();
    out.extend((len as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out.resize(BEFORE + len - 1, b' ');
    out.push(b'\n');
    out
}

/// Values as they stand in the file.
pub(crate) fn bytes(values: &[f32]) -> impl Iterator<Item = u8> {
    values.iter().flat_map(|value| value.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::header;

    #[test]
    fn headers_are_numpys() {
        // `numpy.lib.format.write_array` of numpy 2.3 without the room that it leaves for the first side to grow.
        for (shape, text) in [
            (&[][..], "()"),
            (&[3], "(3,)"),
            (&[3, 512], "(3, 512)"),
            (&[0, 2048, 7, 7], "(0, 2048, 7, 7)"),
        ] {
            let header = header(shape);
            assert_eq!(header.len() % 64, 0);
            let len = usize::from(u16::from_le_bytes([header[8], header[9]]));
            assert_eq!(header.len(), 10 + len);
            assert_eq!(header[..8], *b"\x93NUMPY\x01\0");
            let expected = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {text}, }}");
            let found = str::from_utf8(&header[10..]).expect("text");
            assert!(found.ends_with('\n'));
            assert_eq!(found.trim_end(), expected);
        }
    }
}
