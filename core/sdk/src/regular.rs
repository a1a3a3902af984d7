//! Files that somebody named. A named pipe in the place of one would be waited for, and a device has no end: only regular
//! files are read and written.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// A file, open to be read.
///
/// # Errors
/// When it cannot be opened, or is not a regular file ([`io::ErrorKind::InvalidInput`]).
pub fn open(path: &Path) -> io::Result<File> {
    opened(OpenOptions::new().read(true), path)
}

/// The bytes of a file.
///
/// # Errors
/// As [`open`]; when it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file.
///
/// # Errors
/// As [`read`]; or when it is not UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Writes a file, or writes over it.
///
/// # Errors
/// As [`open`]; when it cannot be written.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    opened(OpenOptions::new().write(true).create(true).truncate(true), path)?.write_all(bytes.as_ref())
}

fn opened(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // A pipe without its other end is not waited for.
    let file = options.custom_flags(libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    match found.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command};

    #[test]
    fn what_has_no_end_is_neither_read_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pipe) = (folder.path().join("file"), folder.path().join("pipe"));
        write(&file, "a longer text").unwrap();
        write(&file, "text").unwrap();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(text(&file).unwrap(), "text");
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert!(read(path).unwrap_err().to_string().contains("not a regular file"));
            assert!(write(path, "x").is_err());
        }
        // Also where somebody reads it.
        let _reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        assert!(
            write(&pipe, "x")
                .unwrap_err()
                .to_string()
                .contains("not a regular file")
        );
        assert_eq!(read(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(fs::read(&file).is_ok() && open(&folder.path().join("none")).is_err());
    }
}
