//! `$secret: name` resolves from the environment: NAME holds the secret as text, or NAME_FILE the path of its file.

use clinmill_sdk::regular;
use std::{ffi::OsString, path::Path};

/// The secret called `name`, in upper case in the environment.
///
/// # Errors
/// A message when `NAME_FILE` is set and its file does not read. It never holds the secret.
pub fn lookup(name: &str, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<Vec<u8>>, String> {
    let name = name.to_uppercase();
    if let Some(text) = environment(&name).filter(|text| !text.is_empty()) {
        return Ok(Some(text.into_encoded_bytes()));
    }
    let variable = format!("{name}_FILE");
    match environment(&variable).filter(|path| !path.is_empty()) {
        None => Ok(None),
        Some(path) => regular::read(Path::new(&path))
            .map(Some)
            .map_err(|error| format!("cannot read the file that {variable} names: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_text_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, b"from a file\n").unwrap();
        let environment = |name: &str| -> Option<OsString> {
            match name {
                "VAULT_KEY" => Some("from the environment".into()),
                "EMPTY" => Some(OsString::new()),
                "OTHER_FILE" | "EMPTY_FILE" => Some(file.clone().into()),
                "GONE_FILE" => Some("/nowhere/at/all".into()),
                _ => None,
            }
        };
        assert_eq!(
            lookup("vault_key", &environment).unwrap().unwrap(),
            b"from the environment"
        );
        assert_eq!(lookup("other", &environment).unwrap().unwrap(), b"from a file\n");
        assert_eq!(lookup("empty", &environment).unwrap().unwrap(), b"from a file\n");
        assert_eq!(lookup("none", &environment), Ok(None));
        assert!(lookup("gone", &environment).unwrap_err().contains("GONE_FILE"));
    }
}
