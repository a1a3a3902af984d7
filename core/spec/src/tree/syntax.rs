//! What is probably wrong where text is no YAML. The library says what it met; what was meant is seen in the lines.

use crate::{
    codes,
    pipeline::Span,
    text::{LINE_ENDS, line_start},
};

/// What is said of it. The span is in bytes of the text.
pub(super) struct Explained {
    pub(super) code: &'static str,
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) hint: String,
}

/// Explains the library's words for what stands at a byte of the text.
pub(super) fn explain(text: &str, info: &str, start: usize) -> Explained {
    let before = text.get(..start).unwrap_or(text);
    let begin = line_start(before);
    let line = text
        .get(begin..)
        .and_then(|t| t.split(LINE_ENDS).next())
        .unwrap_or_default();
    let here = || tab(line, start.saturating_sub(begin)).map(|at| begin + at);
    // A text that goes on in lines below: the tab is in one of them.
    let below = || {
        let rest = text.get(start..).filter(|_| info.contains("tab"))?;
        rest.find('\t').map(|at| start + at)
    };
    if let Some(at) = here().or_else(below) {
        return Explained {
            code: codes::TAB,
            span: Span { start: at, end: at + 1 },
            message: "a tab stands where YAML allows only spaces".to_owned(),
            hint: "use spaces in the place of the tab".to_owned(),
        };
    }
    let end = text
        .get(start..)
        .and_then(|t| t.chars().next())
        .map_or(start, |c| start + c.len_utf8());
    let span = Span { start, end };
    if info.contains("anchor") && text.get(start..end) == Some("*") {
        return Explained {
            code: codes::ALIAS,
            span,
            message: "a `*` begins an alias, and aliases are not allowed in a pipeline file".to_owned(),
            hint: "put a text that begins with `*` in quotes, such as \"*.csv\"; write out what is repeated".to_owned(),
        };
    }
    // Of lines that hold something: the mistake is often at the end of the one before.
    let former = before.get(..begin).unwrap_or_default();
    let former = former.replace("\r\n", "\n").replace('\r', "\n");
    let former = former.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).last();
    Explained {
        code: codes::SYNTAX,
        span,
        message: format!("not valid YAML: {}", info.trim_end_matches('.')),
        hint: hint(info, line, start.saturating_sub(begin), former.map(|(n, l)| (n + 1, l))),
    }
}

/// The tab that is in the way: in the indentation, or between a `:` or `-` and what follows.
fn tab(line: &str, at: usize) -> Option<usize> {
    let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
    let in_indent = line.get(..indent)?.find('\t');
    let met = || line.get(at..).filter(|rest| rest.starts_with('\t')).map(|_| at);
    let behind = || line.get(..at).filter(|l| l.ends_with('\t')).map(|l| l.len() - 1);
    in_indent.or_else(met).or_else(behind)
}

/// What to do about it. `former` is the line before that holds something, with its number.
fn hint(info: &str, line: &str, at: usize, former: Option<(usize, &str)>) -> String {
    let info = info.to_lowercase();
    let here = line.get(at..).and_then(|rest| rest.chars().next());
    if line.contains("${") {
        // Within `{ }` the braces of the reference end the mapping.
        return "put the value with `${NAME}` in quotes: { url: \"file:${NAME}/x\" }".to_owned();
    }
    if info.contains("unexpected character")
        && let Some(c) = here
    {
        return format!("a text that begins with `{c}` must be in quotes");
    }
    if info.contains("quoted scalar") {
        return "a quote is missing at the end of the text that begins here".to_owned();
    }
    if info.contains("flow") {
        return match line.contains(['，', '、', '；']) {
            true => "a full-width `，` is text to YAML: write `, `".to_owned(),
            false => "a `{`, `[`, `,`, `}` or `]` is missing or too many, here or in a line before".to_owned(),
        };
    }
    if !(info.contains("mapping") || info.contains("simple key") || info.contains("indent")) {
        return "check this line and the one before: quotes, brackets, and the space behind each `:`".to_owned();
    }
    // A key of this line before the `:` that is one too many.
    if line.get(..at).is_some_and(|key| key.contains(": ")) {
        return "a text that holds `: ` must be in quotes".to_owned();
    }
    match former {
        Some((n, former)) if former.contains('：') && !former.contains(": ") => {
            format!("line {n} has a full-width `：`, which is text to YAML: write `: `")
        }
        Some((n, former)) if !former.trim_end().ends_with(':') && lacks_space(former) => {
            format!("a space is missing behind the `:` in line {n}")
        }
        Some((n, _)) => format!(
            "check the indentation of this line and of line {n}: the keys of one mapping begin in the same column, and \
             a key is followed by `: `"
        ),
        None => "a key is followed by `: `, and a text that holds `: ` must be in quotes".to_owned(),
    }
}

/// `key:value`.
fn lacks_space(line: &str) -> bool {
    let line = line.trim_start();
    let key = line.len() - line.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    let rest = line.get(key..).and_then(|rest| rest.strip_prefix(':'));
    key > 0 && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with([' ', '\t']))
}
