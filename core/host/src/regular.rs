//! Files that are read as a whole. A named pipe in the place of one would be waited for, and a device has no end.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// The bytes of a file.
///
/// # Errors
/// When it cannot be read, or is not a regular file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let found = file.metadata()?;
    // Of a folder the system says what it is.
    if !found.is_file() && !found.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file.
///
/// # Errors
/// As [`read`]; or when it is not UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::CString, fs};

    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = std::env::temp_dir().join(format!("clinmill-regular-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, pipe) = (folder.join("file"), folder.join("pipe"));
        fs::write(&file, "text").unwrap();
        let name = CString::new(pipe.to_str().unwrap()).unwrap();
        // SAFETY: a plain call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert_eq!(read(&file).unwrap(), b"text");
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert!(read(path).unwrap_err().to_string().contains("not a regular file"));
        }
        assert!(read(&folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
