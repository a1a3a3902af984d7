//! Printing: results on stdout, messages on stderr, each as text or JSON.

use crate::{
    args::{Format, Global, ResultFormat},
    failure,
    failure::Failure,
};
use clinmill_host::streams;
use clinmill_model::Diagnostic;
use serde::Serialize;
use serde_json::json;
use std::{
    fmt,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};
use unicode_width::UnicodeWidthStr;

/// Where a command prints.
#[derive(Debug)]
pub struct Console {
    format: Format,
    log_format: Format,
    quiet: bool,
    /// Stdout takes no more: its reader went away, or it cannot be written.
    closed: AtomicBool,
    failed: AtomicBool,
}

impl Console {
    /// A console as the arguments ask for it.
    pub fn new(global: &Global) -> Self {
        Self {
            format: match global.format {
                ResultFormat::Json => Format::Json,
                _ => Format::Text,
            },
            log_format: global.log_format,
            quiet: global.quiet,
            closed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// True when results are for programs.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// True when messages are for programs.
    pub fn logs_json(&self) -> bool {
        self.log_format == Format::Json
    }

    /// True when only warnings and errors are wanted on stderr.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// True when stdout could not be written, other than by its reader going away.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Prints a result as it is.
    pub fn print(&self, text: &str) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let mut out = streams::out();
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            self.closed.store(true, Ordering::Relaxed);
            // `clinmill … | head` is no failure.
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.failed.store(true, Ordering::Relaxed);
                self.message("error", None, &format!("cannot write to stdout: {error}"));
            }
        }
    }

    /// Prints a result: `value` for programs, `text` for people.
    ///
    /// # Errors
    /// A defect: a value that is no JSON.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Text => self.print(&text()),
            Format::Json => {
                let json = serde_json::to_string_pretty(value)
                    .map_err(|e| Failure::new(crate::failure::FAILED, format!("internal error: {e}")))?;
                self.print(&format!("{json}\n"));
            }
        }
        Ok(())
    }

    /// Says something that is good to know; nothing when quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.message("info", None, text);
        }
    }

    /// Says something that somebody should look at.
    pub fn warn(&self, code: Option<&str>, text: &str) {
        self.message("warning", code, text);
    }

    /// Says why something cannot be done.
    pub fn error(&self, code: Option<&str>, text: &str) {
        self.message("error", code, text);
    }

    /// Shows findings about a pipeline file on stderr.
    pub fn diagnostics(&self, diagnostics: &[Diagnostic], source: Option<&(String, String)>) {
        if diagnostics.is_empty() {
            return;
        }
        if self.logs_json() {
            for diagnostic in diagnostics {
                say(&json!(diagnostic).to_string());
            }
            return;
        }
        let (file, text) = source.map_or(("", ""), |(file, text)| (file, text));
        say(rendered(diagnostics, file, text, coloured(streams::err())).trim_end());
    }

    /// Says why a command failed: on stderr, and as an object on stdout for programs.
    pub fn failure(&self, failure: &Failure) {
        if self.is_json() {
            let code = failure.code.unwrap_or(match failure.exit {
                failure::INVALID => "INVALID",
                failure::QUALITY_GATE => "QUALITY_GATE",
                _ => "FAILED",
            });
            let error = json!({ "code": code, "message": failure.message, "diagnostics": failure.diagnostics });
            self.print(&format!("{:#}\n", json!({ "error": error })));
        }
        self.diagnostics(&failure.diagnostics, failure.source.as_ref());
        self.message("error", failure.code, &failure.message);
    }

    fn message(&self, level: &str, code: Option<&str>, text: &str) {
        if self.logs_json() {
            let mut line = json!({ "level": level, "message": text });
            if let (Some(code), Some(object)) = (code, line.as_object_mut()) {
                object.insert("code".to_owned(), code.into());
            }
            return say(&line.to_string());
        }
        let colour = match level {
            "info" => return say(text),
            "error" => "\x1b[1;31m",
            _ => "\x1b[1;33m",
        };
        match coloured(streams::err()) {
            true => say(&format!("{colour}{level}\x1b[0m: {text}")),
            false => say(&format!("{level}: {text}")),
        }
    }
}

/// Writes a line to stderr; when that is gone there is nobody to tell.
pub fn say(line: &str) {
    let _ = streams::err().write_all(format!("{line}\n").as_bytes());
}

/// Findings with excerpts.
pub fn rendered(diagnostics: &[Diagnostic], file: &str, text: &str, coloured: bool) -> String {
    match coloured {
        true => clinmill_spec::render_coloured(diagnostics, file, text),
        false => clinmill_spec::render(diagnostics, file, text),
    }
}

/// True for a terminal that wants colours (<https://no-color.org>).
pub fn coloured(to: streams::Stream) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// `1234567` as `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 error`, `2 errors`.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(n), if n == 1 { one } else { many })
}

/// Bytes in decimal units, such as `1.2 MB`.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        // What would be rounded to 1,000 belongs to the next unit.
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    match unit {
        "B" => format!("{n} B"),
        _ => format!("{value:.1} {unit}"),
    }
}

/// Aligned columns. Cells may hold any script: wide characters count twice.
pub struct Grid {
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// Columns by their titles; `>` before a title aligns it to the right.
    pub fn new<'a>(titles: impl IntoIterator<Item = &'a str>) -> Self {
        let (right, head) = titles
            .into_iter()
            .map(|title| match title.strip_prefix('>') {
                Some(title) => (true, title.to_owned()),
                None => (false, title.to_owned()),
            })
            .unzip();
        Self {
            right,
            rows: vec![head],
        }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }
}

/// Two spaces before each line and between columns; no space at the end of a line.
impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |i: usize| {
            self.rows
                .iter()
                .filter_map(|r| r.get(i))
                .map(|c| c.width())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                let gap = " ".repeat(width.saturating_sub(cell.width()));
                line.push_str("  ");
                match right {
                    true => line.extend([gap.as_str(), cell]),
                    false => line.extend([cell, gap.as_str()]),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        let all = [0, 999, 1000, 12_345, 1_234_567].map(thousands);
        assert_eq!(all, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(
            [counted(1, "row", "rows"), counted(0, "row", "rows")],
            ["1 row", "0 rows"]
        );
    }

    #[test]
    fn bytes_have_a_unit() {
        let all = [0, 999, 1000, 999_949, 999_950, 1_234_567, 5_000_000_000].map(bytes);
        assert_eq!(
            all,
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.2 MB", "5.0 GB"]
        );
    }

    #[test]
    fn columns_are_aligned_for_wide_characters_too() {
        let mut grid = Grid::new(["name", ">rows", "note"]);
        assert!(grid.is_empty());
        grid.row(["血糖", "7", "x"]);
        grid.row(["glucose", "12,345", ""]);
        let expected = "  name       rows  note\n  血糖          7  x\n  glucose  12,345\n";
        assert_eq!(grid.to_string(), expected);
    }
}
