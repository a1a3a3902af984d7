//! How the process's allocator treats what is freed.

/// Makes glibc's allocator keep what one batch frees for the next one. Left to itself it gives the memory of large columns
/// back and asks for it again with every batch, which is up to half the time of a cheap transform. Does nothing with other
/// allocators.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, bytes) in [
        (libc::M_MMAP_THRESHOLD, 32 << 20),
        (libc::M_TRIM_THRESHOLD, 256 << 20),
        (libc::M_TOP_PAD, 16 << 20),
    ] {
        // SAFETY: it sets a number of the allocator under the allocator's own lock, and takes no pointer.
        unsafe {
            libc::mallopt(parameter, bytes);
        }
    }
}
