//! A cursor over a pickle's bytes. A length is checked against what is left before anything is taken.

use super::Fault;

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes taken so far.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn fault(&self, problem: impl Into<String>) -> Fault {
        Fault::Bad {
            offset: self.at,
            problem: problem.into(),
        }
    }

    fn short(&self, problem: String) -> Fault {
        Fault::Short {
            offset: self.at,
            problem,
        }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..length) else {
            return Err(self.short(format!(
                "{length} bytes wanted, {} left (cut short?)",
                rest.len()
            )));
        };
        self.at += length;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.fault("cut short"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A 64-bit length as a usize.
    pub(crate) fn u64_length(&mut self) -> Result<usize, Fault> {
        let length = u64::from_le_bytes(self.array()?);
        usize::try_from(length).map_err(|_| self.fault(format!("length {length} is impossible")))
    }

    /// A 32-bit length as a usize.
    pub(crate) fn u32_length(&mut self) -> Result<usize, Fault> {
        let length = self.u32()?;
        usize::try_from(length).map_err(|_| self.fault(format!("length {length} is impossible")))
    }

    /// Text up to the next newline, which is taken too.
    pub(crate) fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&b| b == b'\n') else {
            return Err(self.short("a line without an end".into()));
        };
        let line = self.take(length)?;
        self.at += 1;
        self.text(line)
    }

    /// `length` bytes of UTF-8.
    pub(crate) fn str(&mut self, length: usize) -> Result<&'a str, Fault> {
        let taken = self.take(length)?;
        self.text(taken)
    }

    fn text(&self, bytes: &'a [u8]) -> Result<&'a str, Fault> {
        std::str::from_utf8(bytes).map_err(|e| self.fault(format!("text that is not UTF-8: {e}")))
    }
}
