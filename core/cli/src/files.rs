//! Files that people keep: written as a whole or not at all.

use crate::failure::Failure;
use std::{fs, io, io::Write as _, path::Path};

/// Replaces a file, so that whoever reads it sees the old text or the new one, also when the process is ended meanwhile.
///
/// # Errors
/// What the system says; the file is then as it was.
pub fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    // Where a link leads, so that it stays one.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let beside = target.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let whole = || -> io::Result<()> {
        let mut file = fs::File::create(&beside)?;
        if let Ok(before) = fs::metadata(&target) {
            file.set_permissions(before.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &target)
    };
    whole().map_err(|error| {
        let _ = fs::remove_file(&beside);
        Failure::io("write", path, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        let held = fs::File::open(&file).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(
            io::read_to_string(held).unwrap(),
            "old",
            "who reads it reads the old one to its end"
        );
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing is left beside"
        );
        assert!(replace(&folder.path().join("none/a"), "x").is_err());
    }
}
