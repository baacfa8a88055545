//! What the system's allocator does with the memory of activations.

/// Makes glibc's allocator keep what is freed for the next forward, for the rest of the process.
///
/// By default it returns blocks of activations to the system as they are freed, and the next forward
/// pays for fresh pages: 57 MB of them a forward of a resnest50d over 8 images, 55 MB of a resnest200e
/// over one in two processes of three, a twentieth of its time. A process that computes many batches
/// calls this once its models are loaded, so that what loading needed has been returned. Elsewhere
/// than on glibc it does nothing; it concerns only the system's allocator, not another
/// `#[global_allocator]`.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if !cfg!(miri) {
        // Larger blocks than this still come and go as they did.
        const KEPT: libc::c_int = 1 << 30;
        // Arenas of other threads than the first consist of heaps of at most 64 MB.
        const HEAP: libc::c_int = 64 << 20;
        // SAFETY: mallopt takes the allocator's own lock and changes only what later calls do.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
            libc::mallopt(libc::M_TOP_PAD, HEAP);
        }
    }
}

/// Makes all threads of the process share the memory that glibc's allocator has, for the rest of the process.
///
/// By default up to eight threads a CPU have some of their own, and what one of them frees no other gets: 35 MB of a
/// server's 460 that decodes on two threads and computes a resnest50d on two others. To be called before threads are
/// started; what they take turns on is short, as they ask for few and large blocks. Elsewhere than on glibc it does
/// nothing.
pub fn share_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if !cfg!(miri) {
        // SAFETY: mallopt takes the allocator's own lock and changes only what later calls do.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}
