//! Packed weights in a file that many processes map: one copy of them for all.

use std::fs::File;
use std::io;
use std::sync::Arc;

#[cfg(not(miri))]
use memmap2::Mmap;

/// A file of packed weights, mapped into memory to be read. The system keeps its pages once, however many processes map
/// it, and takes them back when memory is short.
#[derive(Debug)]
pub struct MappedWeights {
    map: Map,
}

#[cfg(not(miri))]
type Map = Mmap;

/// Miri maps no files; it sees who reads what as well in a copy.
#[cfg(miri)]
type Map = Vec<u8>;

impl MappedWeights {
    /// Maps the whole of `file`.
    ///
    /// # Errors
    /// Whatever keeps the system from mapping it.
    ///
    /// # Safety
    /// Nobody writes to the file or makes it shorter while it is mapped. (Where a file is cut short, to read what is
    /// gone ends the process with SIGBUS.) To give its name to another file, or to remove it, is all right.
    pub unsafe fn map(file: &File) -> io::Result<Arc<Self>> {
        #[cfg(not(miri))]
        // SAFETY: the caller's promise.
        let map = unsafe { Mmap::map(file)? };
        // Where pages come from the disk, they come as huge ones if the file system has such. A refusal changes nothing.
        #[cfg(all(target_os = "linux", not(miri)))]
        let _ = map.advise(memmap2::Advice::HugePage);
        #[cfg(miri)]
        let map = {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut &*file, &mut bytes)?;
            bytes
        };
        Ok(Arc::new(MappedWeights { map }))
    }

    /// All of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}
