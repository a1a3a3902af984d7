//! The command's own standard streams, out of the reach of libraries. A library that closes descriptor 1, writes to it or
//! puts another file there would else take the command's result away, or stand in the midst of it; and what it writes to
//! descriptor 2 may hold values of rows. While libraries may be loaded, 0, 1 and 2 lead nowhere, and the command writes
//! through descriptors that it alone knows.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, RawFd},
        unix::fs::MetadataExt as _,
    },
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Where the kept descriptors begin: above those that a library closes by counting a little way up.
const ABOVE: RawFd = 200;

/// A stream of the command's own.
struct Kept {
    file: File,
    /// Device and number of the file: a library may close what is not its own, and another file get the descriptor.
    identity: (u64, u64),
}

impl Kept {
    fn of(fd: RawFd) -> io::Result<Self> {
        // SAFETY: plain calls on numbers; what was made is owned by nobody else.
        let file = unsafe {
            let high = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, ABOVE);
            let kept = match high {
                0.. => high,
                _ => libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, libc::STDERR_FILENO + 1),
            };
            if kept < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(kept)
        };
        let found = file.metadata()?;
        Ok(Self {
            file,
            identity: (found.dev(), found.ino()),
        })
    }

    fn file(&self) -> io::Result<&File> {
        let found = self.file.metadata()?;
        match (found.dev(), found.ino()) == self.identity {
            true => Ok(&self.file),
            false => Err(io::Error::other("a library has closed it")),
        }
    }
}

static KEPT: OnceLock<[Kept; 2]> = OnceLock::new();

/// Whether something could not be said there, for a library has taken the stream.
static LOST: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// Whether something could not be written to standard output, and to standard error, for a library has closed it or put
/// another file in its place.
pub(crate) fn lost() -> [bool; 2] {
    [0, 1].map(|which: usize| LOST[which].load(Ordering::Relaxed))
}

/// Keeps standard output and error for [`out`] and [`err`], and lets the descriptors that everybody knows lead nowhere.
/// To be called before a library is loaded. What panics is said through [`err`], too.
///
/// # Errors
/// When the system has no descriptors for that.
pub fn keep() -> io::Result<()> {
    let kept = [Kept::of(libc::STDOUT_FILENO)?, Kept::of(libc::STDERR_FILENO)?];
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    if KEPT.set(kept).is_err() {
        return Ok(());
    }
    for fd in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: plain calls; the three are the process's own.
        if unsafe { libc::dup2(nowhere.as_raw_fd(), fd) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        let _ = writeln!(err(), "{panic}");
    }));
    Ok(())
}

/// Standard output or error, as the command was started with it.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    is_error: bool,
}

/// Standard output.
pub fn out() -> Stream {
    Stream { is_error: false }
}

/// Standard error.
pub fn err() -> Stream {
    Stream { is_error: true }
}

impl Stream {
    fn kept(self) -> Option<&'static Kept> {
        KEPT.get().and_then(|kept| kept.get(usize::from(self.is_error)))
    }

    /// Whether people read it.
    pub fn is_terminal(self) -> bool {
        match (self.kept(), self.is_error) {
            (Some(kept), _) => kept.file.is_terminal(),
            (None, false) => io::stdout().is_terminal(),
            (None, true) => io::stderr().is_terminal(),
        }
    }

    /// Whether it is kept out of the reach of libraries.
    pub fn is_kept(self) -> bool {
        self.kept().is_some()
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (self.kept(), self.is_error) {
            (Some(kept), _) => {
                let file = kept.file();
                if file.is_err() {
                    LOST[usize::from(self.is_error)].store(true, Ordering::Relaxed);
                }
                file?.write(bytes)
            }
            (None, false) => io::stdout().write(bytes),
            (None, true) => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match (self.kept(), self.is_error) {
            (Some(_), _) => Ok(()),
            (None, false) => io::stdout().flush(),
            (None, true) => io::stderr().flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_in_its_place_is_noticed() {
        let [first, second] = ["first", "second"].map(|name| {
            let name = format!("clinmill-streams-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            (File::create(&path).unwrap(), path)
        });
        let kept = Kept::of(first.0.as_raw_fd()).unwrap();
        assert!(kept.file.as_raw_fd() >= ABOVE);
        kept.file().unwrap().write_all(b"x").unwrap();
        // SAFETY: a plain call on two descriptors of this test.
        assert!(unsafe { libc::dup2(second.0.as_raw_fd(), kept.file.as_raw_fd()) } >= 0);
        assert!(kept.file().is_err());
        for (_, path) in [&first, &second] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
