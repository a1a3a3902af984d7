//! The small notations of the pipeline file: names, durations, shares, ranges, patterns with captures.

use std::time::Duration;

/// A name of a source, transform or table: it becomes a folder, a SQL table and part of row ids.
pub(crate) const NAME_RULE: &str = "a name has lower-case letters, digits and `_`, and begins with a letter";
const NAME_LENGTH: usize = 64;

pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NAME_LENGTH
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A name of a pipeline, root or secret.
pub(crate) const LABEL_RULE: &str = "it may have letters, digits, `-` and `_`, and begins with a letter or digit";

pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= NAME_LENGTH
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// `10m`, `7d`, `1h30m`; units s, m, h, d, w. At most a hundred years.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    const LONGEST_SECONDS: u64 = 100 * 366 * 86_400;
    let mut total: u64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, tail) = rest.split_at_checked(digits)?;
        let unit = match tail.chars().next()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return None,
        };
        total = count.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(total)?;
        rest = tail.get(1..)?;
    }
    (total <= LONGEST_SECONDS).then(|| Duration::from_secs(total))
}

/// `5%` or `0.05`: a share from 0 to 1.
pub(crate) fn share(text: &str) -> Option<f64> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    if !number.starts_with(|c: char| c.is_ascii_digit()) || !number.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value = number.parse::<f64>().ok()? / scale;
    (0.0..=1.0).contains(&value).then_some(value)
}

/// `500..`, `..900`, `500..900` or `500`: inclusive bounds.
pub(crate) fn range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let bound = |text: &str| match text {
        "" => Some(None),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    };
    let (low, high) = match text.split_once("..") {
        Some((low, high)) => (bound(low)?, bound(high)?),
        None => (bound(text)?, bound(text)?),
    };
    match (low, high) {
        (None, None) => None,
        (Some(low), Some(high)) if low > high => None,
        bounds => Some(bounds),
    }
}

/// `-10%..50%`, `..0.5`, `-10%..`: inclusive bounds of a change, as shares of what was there.
pub(crate) fn change(text: &str) -> Option<(Option<f64>, Option<f64>)> {
    let bound = |text: &str| -> Option<Option<f64>> {
        if text.is_empty() {
            return Some(None);
        }
        let (number, scale) = match text.strip_suffix('%') {
            Some(number) => (number, 100.0),
            None => (text, 1.0),
        };
        let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
        let plain = digits.starts_with(|c: char| c.is_ascii_digit()) && digits.ends_with(|c: char| c.is_ascii_digit());
        let value = number.parse::<f64>().ok().filter(|v| plain && v.is_finite())?;
        Some(Some(value / scale))
    };
    let (low, high) = text.split_once("..")?;
    match (bound(low)?, bound(high)?) {
        (None, None) => None,
        (Some(low), Some(high)) if low > high => None,
        bounds => Some(bounds),
    }
}

/// The `{captures}` of a path pattern, with the byte offset of each name; or what is wrong, and where.
pub(crate) fn captures(pattern: &str) -> Result<Vec<(usize, &str)>, (usize, String)> {
    let mut found: Vec<(usize, &str)> = Vec::new();
    let mut at = 0;
    while let Some(step) = pattern.get(at..).and_then(|rest| rest.find(['{', '}'])) {
        let open = at + step;
        if !pattern.get(open..).is_some_and(|rest| rest.starts_with('{')) {
            return Err((open, "`}` without `{`".to_owned()));
        }
        let body = pattern.get(open + 1..).unwrap_or_default();
        let Some(close) = body.find('}') else {
            return Err((open, "`{` without `}`".to_owned()));
        };
        let name = body.get(..close).unwrap_or_default();
        if !is_name(name) {
            return Err((open, format!("the capture `{{{name}}}` is not a name: {NAME_RULE}")));
        }
        if found.iter().any(|(_, other)| *other == name) {
            return Err((open, format!("the capture `{{{name}}}` is there twice")));
        }
        found.push((open + 1, name));
        at = open + close + 2;
    }
    Ok(found)
}

/// A capture of a path pattern whose end or start nothing marks, because `*` or another capture stands beside it (`?` is
/// one character wherever it stands): its byte offset, and what is wrong.
pub(crate) fn unmarked(pattern: &str) -> Option<(usize, String)> {
    // The last `*` or capture, while no character of its own has come behind it.
    let mut open: Option<(usize, &str)> = None;
    let mut at = 0;
    while let Some(rest) = pattern.get(at..).filter(|rest| !rest.is_empty()) {
        let length = match rest.chars().next()? {
            '{' => rest.find('}')? + 1,
            c => c.len_utf8(),
        };
        let token = rest.get(..length)?;
        if token == "*" || token.starts_with('{') {
            let (capture, other) = match open.replace((at, token)) {
                Some(before) if before.1.starts_with('{') => (before, token),
                Some((_, before)) if token != "*" => ((at, token), before),
                _ => {
                    at += length;
                    continue;
                }
            };
            let message = format!("nothing divides the capture `{}` from `{other}` beside it", capture.1);
            return Some((capture.0, message));
        }
        if token != "?" {
            open = None;
        }
        at += length;
    }
    None
}

/// A part of a path pattern that no file or folder has: its byte offset, and what is wrong. `**` stands for folders, as a
/// part of its own that another follows.
pub(crate) fn unmatched(pattern: &str) -> Option<(usize, String)> {
    // A root's name is no part.
    let root = pattern.split_once(':').map_or("", |(root, _)| root);
    let mut at = if root.is_empty() || root.contains('/') {
        0
    } else {
        root.len() + 1
    };
    let below = pattern.get(at..)?;
    let parts = below.strip_prefix("./").unwrap_or(below);
    at += below.len() - parts.len();
    let last = parts.rsplit('/').next();
    for part in parts.split('/') {
        match part {
            "" => return Some((at.saturating_sub(1), "a `/` has no name on one of its sides".to_owned())),
            "." | ".." => return Some((at, format!("the part `{part}` is no name"))),
            "**" => {}
            _ => {
                if let Some(stars) = part.find("**") {
                    return Some((at + stars, "`**` stands beside other characters".to_owned()));
                }
            }
        }
        at += part.len() + 1;
    }
    (last == Some("**")).then(|| {
        (
            pattern.len() - 2,
            "`**` at the end is folders only, and no file".to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(is_name("visit_occurrence2"));
        for bad in [
            "",
            "_x",
            "2x",
            "Lab",
            "a-b",
            "a.b",
            "../x",
            "a/b",
            "结果",
            &"a".repeat(65),
        ] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_label("carotid-stenting"));
        assert!(!is_label(".."));
    }

    #[test]
    fn durations() {
        assert_eq!(duration("10m"), Some(Duration::from_secs(600)));
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for bad in [
            "",
            "10",
            "m",
            "1.5h",
            "10 m",
            "-1d",
            "9999999999999999999d",
            "99999999w",
            "5分",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn shares_and_ranges() {
        assert_eq!(share("5%"), Some(0.05));
        assert_eq!(share("0.05"), Some(0.05));
        for bad in ["5", "101%", "-1%", "%", "nan", "inf", "1e-3x", ""] {
            assert_eq!(share(bad), None, "{bad}");
        }
        assert_eq!(range("500.."), Some((Some(500), None)));
        assert_eq!(range("..9"), Some((None, Some(9))));
        assert_eq!(range("7"), Some((Some(7), Some(7))));
        for bad in ["", "..", "9..1", "a..", "-1..", "1...2"] {
            assert_eq!(range(bad), None, "{bad}");
        }
        assert_eq!(change("-10%..50%"), Some((Some(-0.1), Some(0.5))));
        assert_eq!(change("..+0.5"), Some((None, Some(0.5))));
        for bad in ["", "..", "50%..-10%", "a..", "1", "nan..", "--1.."] {
            assert_eq!(change(bad), None, "{bad}");
        }
    }

    #[test]
    fn captures_of_patterns() {
        let names = |p| captures(p).map(|c| c.into_iter().map(|(_, n)| n).collect::<Vec<_>>());
        assert_eq!(names("inbox/{mrn}/{visit_no}_*.txt").unwrap(), ["mrn", "visit_no"]);
        assert_eq!(names("a/*.csv").unwrap(), Vec::<&str>::new());
        for bad in ["{", "}", "{a", "{}", "{A}", "{a}{a}", "{a,b}", "{{a}}"] {
            assert!(captures(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn double_stars_stand_alone() {
        for good in [
            "a/**/*.csv",
            "**/b",
            "./**/*",
            "root:**/x_*.csv",
            "a/*b*/c*",
            "root:./a",
        ] {
            assert_eq!(unmatched(good), None, "{good}");
        }
        for (bad, at) in [
            ("inbox/a**", 7),
            ("inbox/***", 6),
            ("检/**b/c", 4),
            ("**.csv", 0),
            ("inbox/**", 6),
            ("root:**", 5),
            ("root:a**/b", 6),
            ("a//b", 1),
            ("a/", 1),
            ("a/./b", 2),
        ] {
            assert_eq!(unmatched(bad).map(|(at, _)| at), Some(at), "{bad}");
        }
    }

    #[test]
    fn captures_need_a_character_that_divides_them() {
        for good in [
            "{mrn}/*.txt",
            "**/{mrn}_*.txt",
            "{a}_{b}.csv",
            "lis_{date}?.csv",
            "检{a}验*",
            "*/{a}/*",
            "*?*_{a}",
        ] {
            assert_eq!(unmarked(good), None, "{good}");
        }
        for (bad, at) in [
            ("inbox/{mrn}*.txt", 6),
            ("检*{a}.csv", 4),
            ("{a}{b}.csv", 0),
            ("{a}?*.csv", 0),
            ("x{a}_{b}??{c}", 5),
        ] {
            assert_eq!(unmarked(bad).map(|(at, _)| at), Some(at), "{bad}");
        }
    }
}
