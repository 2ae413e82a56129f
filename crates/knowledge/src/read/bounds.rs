//! What the child allows itself before it reads a byte. Each limit is the kernel's: code that a file makes run cannot lift it.
//!
//! No file descriptor can be opened: none for a file, none for a socket, so there is no network either, without namespaces and
//! the rights that they need.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Memory that may be written to. A file of 32 MiB, its parts unpacked within [`super::kind::UNPACKED_BYTES_MAX`], objects of a
/// PDF and the text: 200 MiB at most were seen.
pub const MEMORY_BYTES_MAX: u64 = 512 << 20;

/// Address space, also that which is only reserved: an allocator reserves more than it uses.
const ADDRESS_BYTES_MAX: u64 = 4 << 30;

/// Seconds of the processor: a thousand pages of PDF take two.
const CPU_SECONDS_MAX: u64 = 20;

/// Standard input, output and error are open, and nothing else will be.
const FILES_MAX: u64 = 3;

/// Sets every limit, soft and hard. An error: do not read.
pub fn apply() -> std::io::Result<()> {
    for (resource, limit) in [
        (Resource::Data, MEMORY_BYTES_MAX),
        (Resource::As, ADDRESS_BYTES_MAX),
        (Resource::Cpu, CPU_SECONDS_MAX),
        (Resource::Nofile, FILES_MAX),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        // A core dump would hold the document.
        (Resource::Core, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}
