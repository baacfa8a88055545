//! Large buffers that may be refused: their sizes come from files.

use crate::{Error, Result};

/// An empty vector with room for `len` items.
pub(crate) fn reserved<T>(len: usize) -> Result<Vec<T>> {
    let mut items = Vec::new();
    match items.try_reserve_exact(len) {
        Ok(()) => Ok(items),
        Err(_) => Err(Error::OutOfMemory {
            bytes: (len as u64).saturating_mul(size_of::<T>() as u64),
        }),
    }
}

/// `len` times `value`.
pub(crate) fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>> {
    let mut items = reserved(len)?;
    items.resize(len, value);
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_cannot_give_is_an_error() {
        assert_eq!(filled(3, 7u16), Ok(vec![7; 3]));
        let bytes = 1 << 62;
        assert_eq!(
            reserved::<u8>(bytes as usize),
            Err(Error::OutOfMemory { bytes })
        );
        assert!(reserved::<u64>(usize::MAX).is_err());
    }
}
