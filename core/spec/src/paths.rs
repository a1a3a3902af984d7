//! Lexical rules for paths: nothing that a pipeline names lies outside its folder and its named roots.
//!
//! Symbolic links are the business of whoever opens the files.

use crate::{
    codes,
    report::{hint, quoted},
};

/// Why a path is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathProblem {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

fn problem(code: &'static str, message: impl Into<String>, hint: Option<&str>) -> PathProblem {
    PathProblem {
        code,
        message: message.into(),
        hint: hint.map(str::to_owned),
    }
}

/// A path below the pipeline's folder, or `root:path` below a named root.
pub(crate) fn check<'r>(path: &str, roots: impl Iterator<Item = &'r str>) -> Result<(), PathProblem> {
    characters(path)?;
    let rooted = path.split_once(':').filter(|(root, _)| !root.contains('/'));
    let below = match rooted {
        Some((_, rest)) if rest.starts_with("//") => {
            return Err(problem(
                codes::PATH_IS_URL,
                "a path is needed here, not a URL",
                Some(RELATIVE),
            ));
        }
        Some(("file", _)) => {
            return Err(problem(
                codes::PATH_IS_URL,
                "a path is needed here, without `file:`",
                Some(RELATIVE),
            ));
        }
        Some((root, below)) => {
            let roots: Vec<&str> = roots.collect();
            if !roots.contains(&root) {
                let advice = hint(root, roots.iter().copied()).or_else(|| {
                    Some("declare it under `roots:`, such as `roots: { maps: ../../mappings }`".to_owned())
                });
                let message = format!("the root {} is not declared", quoted(root));
                return Err(PathProblem {
                    code: codes::UNKNOWN_ROOT,
                    message,
                    hint: advice,
                });
            }
            below
        }
        None => path,
    };
    if below.is_empty() {
        return Err(problem(codes::BAD_PATH, "the path is empty", None));
    }
    if below.starts_with('/') || below.starts_with('~') {
        return Err(problem(codes::PATH_ESCAPES, "the path is absolute", Some(RELATIVE)));
    }
    if below.split('/').any(|part| part == "..") {
        return Err(problem(
            codes::PATH_ESCAPES,
            "the path leaves its folder by `..`",
            Some(RELATIVE),
        ));
    }
    Ok(())
}

const RELATIVE: &str = "paths are relative to the pipeline file; to read another folder, name it under `roots:` and \
                        write `name:path`";

/// A root: any folder, also above the pipeline's, since it is declared in plain sight.
pub(crate) fn check_root(path: &str) -> Result<(), PathProblem> {
    characters(path)?;
    if path.contains("://") || path.starts_with("file:") {
        return Err(problem(codes::PATH_IS_URL, "a root is a folder, not a URL", None));
    }
    if path.is_empty() {
        return Err(problem(codes::BAD_PATH, "the path is empty", None));
    }
    Ok(())
}

/// `file:PATH`, the only place for a vault and, without a de-identification policy, for a dataset. Returns the path.
pub(crate) fn check_store(url: &str) -> Result<&str, PathProblem> {
    characters(url)?;
    let Some(path) = url.strip_prefix("file:") else {
        return Err(match url.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) {
            Some((scheme, _)) => problem(
                codes::SCHEME,
                format!(
                    "`{scheme}:` is not available: releases without a de-identification policy live on `file:` only"
                ),
                Some("write `file:PATH`"),
            ),
            None => problem(
                codes::SCHEME,
                "the URL has no scheme",
                Some("write `file:PATH`, such as `file:./out/registry`"),
            ),
        });
    };
    if path.starts_with("//") && !path.starts_with("///") {
        let hint = Some("write `file:PATH` or `file:///PATH`");
        return Err(problem(codes::BAD_PATH, "`file://` is followed by a host", hint));
    }
    if path.trim_start_matches('/').is_empty() {
        return Err(problem(codes::BAD_PATH, "the path is empty", Some("write `file:PATH`")));
    }
    Ok(path)
}

/// True when one of two stores lies inside the other, as far as their paths tell.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    if a.starts_with('/') != b.starts_with('/') {
        return false;
    }
    let (a, b) = (normal(a), normal(b));
    a.iter().zip(&b).all(|(x, y)| x == y)
}

fn normal(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        if part == ".." && parts.last().is_some_and(|last| *last != "..") {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn characters(path: &str) -> Result<(), PathProblem> {
    if path.contains('\\') {
        return Err(problem(
            codes::BAD_PATH,
            "the path holds a backslash",
            Some("separate folders by `/`"),
        ));
    }
    if path.chars().any(char::is_control) {
        return Err(problem(codes::BAD_PATH, "the path holds a control character", None));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(path: &str) -> Option<&'static str> {
        check(path, ["maps", "data"].into_iter()).err().map(|p| p.code)
    }

    #[test]
    fn inside_is_fine() {
        for path in [
            "inbox/**/*.hl7",
            "./a",
            "maps:lab-zh__loinc",
            "data:x/{date}/a.csv",
            "a..b/c",
            "a/12:30.csv",
            "...",
        ] {
            assert_eq!(code(path), None, "{path}");
        }
    }

    #[test]
    fn escapes_are_refused() {
        for path in [
            "../x",
            "a/../../x",
            "maps:../x",
            "maps:/etc/passwd",
            "/etc/passwd",
            "..",
            "a/..",
            "~/x",
            "maps:a/..",
        ] {
            assert_eq!(code(path), Some(codes::PATH_ESCAPES), "{path}");
        }
        for path in ["file:///etc/passwd", "file:x", "https://a/b", "maps://x"] {
            assert_eq!(code(path), Some(codes::PATH_IS_URL), "{path}");
        }
        for path in ["a\\..\\b", "C:\\x", "a\0b", "", "maps:"] {
            assert_eq!(code(path), Some(codes::BAD_PATH), "{path:?}");
        }
        let unknown = check("map:x", ["maps"].into_iter()).unwrap_err();
        assert_eq!(unknown.hint.unwrap(), "did you mean `maps`?");
    }

    #[test]
    fn stores_are_on_file() {
        assert_eq!(check_store("file:./out"), Ok("./out"));
        assert_eq!(check_store("file:///srv/out"), Ok("///srv/out"));
        assert_eq!(check_store("s3://b/x").unwrap_err().code, codes::SCHEME);
        assert_eq!(check_store("./out").unwrap_err().code, codes::SCHEME);
        assert_eq!(check_store("file://host/x").unwrap_err().code, codes::BAD_PATH);
        assert_eq!(check_store("file:").unwrap_err().code, codes::BAD_PATH);
    }

    #[test]
    fn stores_do_not_overlap() {
        assert!(overlap("./out", "out/vault"));
        assert!(overlap("/a/b/../c", "/a/c"));
        assert!(!overlap("out/a", "out/ab"));
        assert!(!overlap("vault", "/vault"));
        assert!(overlap(".", "vault"));
    }
}
