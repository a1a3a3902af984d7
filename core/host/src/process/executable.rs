//! The program of a plugin as it was looked at: read once, and run from a copy in memory that nobody can change.
//!
//! What is pinned is this one file. Of a script the interpreter, and what is installed for it, are the machine's; but what
//! lies beside the script is not read: Python is started isolated (`-I`), and a program learns nothing of where it lies.

use clinmill_model::Digest;
use clinmill_sdk::regular;
use std::{
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::Command,
};

/// A program that can be started.
pub struct Executable {
    /// The sealed copy, open for reading.
    file: File,
    /// What is called, and its arguments; the place of the copy stands for the program.
    command: Vec<PathBuf>,
}

fn is_python(program: &Path) -> bool {
    program
        .file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b"python"))
}

/// The words of the first line of a script, as the system would call it: the interpreter, and one argument or what `env -S`
/// makes of it. `None`: it is no script.
fn interpreter(bytes: &[u8]) -> Option<Vec<PathBuf>> {
    let line = bytes.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    let (program, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let argument = argument.trim();
    let mut words = vec![PathBuf::from(program)];
    match argument.strip_prefix("-S") {
        Some(more) if words[0].file_name().is_some_and(|name| name == "env") => {
            words.extend(more.split_whitespace().map(PathBuf::from));
        }
        _ if argument.is_empty() => {}
        _ => words.push(argument.into()),
    }
    (!program.is_empty()).then_some(words)
}

/// The same, with Python isolated.
fn isolated(mut words: Vec<PathBuf>) -> Vec<PathBuf> {
    if let Some(at) = words.iter().position(|word| is_python(word))
        && !words.contains(&PathBuf::from("-I"))
    {
        words.insert(at + 1, "-I".into());
    }
    words
}

impl Executable {
    /// Reads the program, and makes the copy that is run.
    ///
    /// # Errors
    /// `None` in the place of an error: the file has another digest.
    pub fn new(path: &Path, digest: Digest, command: &[PathBuf]) -> io::Result<Option<Self>> {
        let bytes = regular::read(path)?;
        if Digest::of(&bytes) != digest {
            return Ok(None);
        }
        let file = copy(&bytes)?;
        let place = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let at = command.iter().position(|word| word == path);
        let (before, after) = command.split_at(at.unwrap_or(0));
        let words = match before.is_empty() {
            true => match interpreter(&bytes) {
                // The system would hand a text to a shell, which says strange things of it.
                None if std::str::from_utf8(&bytes).is_ok() => {
                    let message = "its first line does not name its interpreter, such as #!/usr/bin/python3";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                words => words.unwrap_or_default(),
            },
            false => before.to_vec(),
        };
        let mut command = isolated(words);
        command.push(place);
        command.extend(after.iter().skip(1).cloned());
        Ok(Some(Self { file, command }))
    }

    /// What the system is to start, where that is not the program itself.
    pub fn interpreter(&self) -> Option<&Path> {
        self.command
            .first()
            .filter(|_| self.command.len() > 1)
            .map(PathBuf::as_path)
    }

    /// A command that runs it.
    pub fn command(&self) -> Command {
        let (program, arguments) = self
            .command
            .split_first()
            .map_or((Path::new(""), &[][..]), |(p, a)| (p.as_path(), a));
        let mut command = Command::new(program);
        command.args(arguments);
        let fd = self.file.as_raw_fd();
        // SAFETY: between fork and exec plain system calls are made.
        unsafe {
            command.pre_exec(move || {
                keep_streams_alone()?;
                // An interpreter opens the copy by its number.
                match libc::fcntl(fd, libc::F_SETFD, 0) {
                    -1 => Err(io::Error::last_os_error()),
                    _ => Ok(()),
                }
            });
        }
        command
    }
}

/// Has every open file but the three streams closed by exec: some of them are of libraries that did not ask for it, or of who
/// started us. To be called between fork and exec: it allocates nothing.
fn keep_streams_alone() -> io::Result<()> {
    // SAFETY: plain system calls on numbers, which need not be open. Not closed here: over one of them the parent learns that
    // exec failed.
    unsafe {
        let first = libc::STDERR_FILENO + 1;
        if libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0 {
            return Ok(());
        }
        // Before Linux 5.11.
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        let last = libc::c_int::try_from(limit.rlim_cur)
            .unwrap_or(libc::c_int::MAX)
            .min(MOST_FILES);
        for fd in first..last {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    Ok(())
}

/// How many numbers of files are gone through one by one.
const MOST_FILES: libc::c_int = 1 << 20;

/// A file in memory that cannot be written any more, open for reading: a program that is open for writing is not started.
fn copy(bytes: &[u8]) -> io::Result<File> {
    // SAFETY: a plain call; the name is for people who look at the process.
    let fd = unsafe { libc::memfd_create(c"clinmill-plugin".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and owned by nobody else.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(bytes)?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: a plain call on a descriptor that is open.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(io::Error::last_os_error());
    }
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn words(line: &str) -> Vec<String> {
        let words = isolated(interpreter(line.as_bytes()).unwrap());
        words.iter().map(|word| word.display().to_string()).collect()
    }

    #[test]
    fn scripts_are_called_as_the_system_would_and_python_isolated() {
        assert_eq!(words("#!/bin/sh\necho"), ["/bin/sh"]);
        assert_eq!(words("#! /bin/sh -e -u\n"), ["/bin/sh", "-e -u"]);
        assert_eq!(words("#!/usr/bin/python3.12\n"), ["/usr/bin/python3.12", "-I"]);
        assert_eq!(words("#!/usr/bin/env python3\n"), ["/usr/bin/env", "python3", "-I"]);
        assert_eq!(
            words("#!/usr/bin/env -S python3 -u\n"),
            ["/usr/bin/env", "python3", "-I", "-u"]
        );
        assert_eq!(words("#!/usr/bin/python3 -I\n"), ["/usr/bin/python3", "-I"]);
        assert_eq!(interpreter(b"\x7fELF"), None);
        assert_eq!(interpreter(b"#!\n"), None);
    }

    #[test]
    fn no_file_but_the_streams_is_handed_on() {
        let path = std::env::temp_dir().join(format!("clinmill-files-{}", std::process::id()));
        let text = "#!/bin/sh\n[ -e /proc/$$/fd/177 ] && echo open || echo closed\n";
        fs::write(&path, text).unwrap();
        let program = Executable::new(&path, Digest::of(text.as_bytes()), std::slice::from_ref(&path));
        let program = program.unwrap().unwrap();
        // SAFETY: a number that nobody has; it is not closed by exec.
        assert_eq!(unsafe { libc::dup2(0, 177) }, 177);
        let own = fs::exists("/proc/self/fd/177").unwrap();
        let said = program.command().output().unwrap().stdout;
        // SAFETY: the one above.
        unsafe { libc::close(177) };
        assert!(own && said == b"closed\n", "{}", String::from_utf8_lossy(&said));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_run_is_what_was_looked_at() {
        let folder = std::env::temp_dir().join(format!("clinmill-executable-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("program");
        let text = "#!/bin/sh\necho \"$1\"\n";
        fs::write(&path, text).unwrap();
        let command = [path.clone(), "one".into()];
        assert!(
            Executable::new(&path, Digest::of(b"other"), &command)
                .unwrap()
                .is_none()
        );
        let program = Executable::new(&path, Digest::of(text.as_bytes()), &command)
            .unwrap()
            .unwrap();
        fs::write(&path, "#!/bin/sh\necho changed\n").unwrap();
        assert_eq!(program.command().output().unwrap().stdout, b"one\n");
        assert!(
            fs::OpenOptions::new()
                .write(true)
                .open(&program.command[1])
                .and_then(|mut file| file.write_all(b"x"))
                .is_err(),
            "the copy is not written"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
