//! The side of the plugin boundary that loads: it opens a native library that stands in `plugins.lock`, after its digest,
//! magic, version and target were read from the file, and turns its C tables (`clinmill-abi`) into the traits of
//! `clinmill-sdk`; and it runs plugins that are processes of their own. It is the only crate that may open a
//! library, and no other crate depends on how it does.
//!
//! # What a process survives
//!
//! With a time limit set, each call into a plugin runs on a thread of its own. A panic of a Rust plugin, a call that does
//! not come back, a C plugin that ends its thread, a batch that is not what was promised, a second release of what it was
//! lent (a batch, or a column of it), an array that is emitted twice in a call, a NULL, a `release` of an array, a buffer, an
//! error or a schema that does not come back,
//! constructors of a library that do not: each is an error that names plugin, phase and code, after which the plugin is not
//! called again where it cannot be. Arrays are released on a thread of their own ([`Account`] has it), and nothing is
//! published before that is done.
//!
//! What no process survives, and what a process plugin is for: a segmentation fault or an illegal instruction; `abort`,
//! `exit` and `_exit`; a stack overflow; an allocation failure; an exception of a C++ plugin that leaves a slot; a Rust
//! plugin that ends its thread (`pthread_exit` through Rust frames aborts); a second `free` of the plugin's own memory; any
//! write to memory that is not the plugin's; a pointer that leads to nothing, or a text without its end. The command line
//! has a process that waits for the one that loads libraries ([`guard`]), so that not even `_exit(0)` looks like success: it
//! tells that the other one was ended, or stopped (by whatever signal), or does not end when it was told to (in 30 seconds;
//! in 2 when it was told twice), by which call where that can be known, and ends what is left of its process group. Signals
//! of a terminal to what runs in its background are ignored there. Standard output and error are kept out of the reach of libraries ([`streams`]). A
//! thread that does not come back keeps its memory, and its processor if it computes, until the process ends.
//!
//! What a library must not do, and the host does not see: close descriptors that are not its own, but for the standard
//! ones (of the streams that the host keeps it sees it, and the waiting process says it), change the handling of signals, or leave a process that left the group (`fork` and `setsid`), which keeps the
//! locks and the output that it was born with. `chdir` and `umask` change the plugin's own thread alone, but where the system
//! refuses threads a folder of their own (`unshare`, as containers often do) the folders that a pipeline names by
//! relative paths move with it. The command does not need its environment after the start (`clearenv`), but what the
//! pipeline reads from variables later is gone. Destructors and `atexit` handlers of a library do not run: the process
//! ends without them.
#![allow(unsafe_code, reason = "the C boundary")]

mod calls;
pub mod file;
pub mod guard;
mod limits;
mod loader;
pub mod lock;
pub mod memory;
mod native;
pub mod process;
mod records;
pub mod streams;
mod texts;

pub use clinmill_abi::TARGET_TRIPLE;
pub use limits::{Account, Limits, interrupted, take_unreleased};
pub use loader::{LoadError, Loaded, Loader, holder, load_unlocked};
