//! Path patterns of sources: `*` and `?` within a name, `**` for any number of folders, `{name}` captures one or more
//! characters of a name, as few as the rest of the pattern allows; what divides it from `*` and from another capture is a
//! character of the pattern.

use super::error::{Result, VaultError};
use std::collections::{BTreeMap, HashSet};

/// What the `{name}`s of a pattern matched.
pub type Captures = BTreeMap<String, String>;

/// A path pattern, relative to the folder that is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`
    Folders,
    Name(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Any,
    /// `{name}`
    Capture(String),
}

impl Pattern {
    /// Reads a pattern. Parts are separated by `/`; `./` at its start is dropped.
    ///
    /// # Errors
    /// [`VaultError::Pattern`] for an absolute pattern, `..`, an empty part, braces that are not one name, a name used
    /// twice, and a capture whose end or start no character marks.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |reason| VaultError::Pattern {
            pattern: text.to_owned(),
            reason,
        };
        let mut names = HashSet::new();
        let mut segments = Vec::new();
        for part in text.strip_prefix("./").unwrap_or(text).split('/') {
            let segment = match part {
                "" => return Err(wrong("is empty, absolute, or has an empty part between two '/'")),
                "." | ".." => return Err(wrong("has a part '.' or '..'; name a root instead")),
                "**" => Segment::Folders,
                _ => Segment::Name(tokens(part, &mut names).map_err(wrong)?),
            };
            if !(segment == Segment::Folders && segments.last() == Some(&Segment::Folders)) {
                segments.push(segment);
            }
        }
        if segments.last() == Some(&Segment::Folders) {
            return Err(wrong("ends with '**', which matches folders only; add '/*'"));
        }
        Ok(Self { segments })
    }

    /// The names between braces, in the order written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments
            .iter()
            .flat_map(|s| match s {
                Segment::Folders => &[],
                Segment::Name(tokens) => tokens.as_slice(),
            })
            .filter_map(|t| match t {
                Token::Capture(name) => Some(name.as_str()),
                _ => None,
            })
    }

    /// Matches a whole relative path with `/` between its parts. As in a shell, a name that begins with a dot is
    /// matched only by a part that begins with one.
    pub fn matches(&self, path: &str) -> Option<Captures> {
        let parts: Vec<&str> = path.split('/').collect();
        let mut captures = Captures::new();
        let mut failed = HashSet::new();
        self.walk(0, &parts, 0, &mut captures, &mut failed).then_some(captures)
    }

    /// The pattern whose literals are in lower case, and that matches the path in lower case where only the case differs.
    pub(crate) fn in_lower_case(&self) -> Self {
        let mut lower = self.clone();
        for segment in &mut lower.segments {
            let Segment::Name(tokens) = segment else { continue };
            *tokens = std::mem::take(tokens)
                .into_iter()
                .flat_map(|token| match token {
                    Token::Literal(c) => c.to_lowercase().map(Token::Literal).collect(),
                    other => vec![other],
                })
                .collect();
        }
        lower
    }

    /// True when a file below this folder (its parts from the searched one) may match.
    pub(crate) fn may_hold(&self, folder: &[&str]) -> bool {
        let mut parts = folder.iter();
        for segment in self.segments.iter().take(self.segments.len().saturating_sub(1)) {
            match (segment, parts.next()) {
                (_, None) => return true,
                (Segment::Folders, Some(first)) => {
                    return self.asks_for_hidden()
                        || std::iter::once(first).chain(parts).all(|part| !part.starts_with('.'));
                }
                (Segment::Name(tokens), Some(part)) => {
                    if name_matches(tokens, part).is_none() {
                        return false;
                    }
                }
            }
        }
        parts.next().is_none()
    }

    fn asks_for_hidden(&self) -> bool {
        let dot = Some(&Token::Literal('.'));
        self.segments
            .iter()
            .any(|s| matches!(s, Segment::Name(tokens) if tokens.first() == dot))
    }

    fn walk(
        &self,
        segment: usize,
        parts: &[&str],
        part: usize,
        captures: &mut Captures,
        failed: &mut HashSet<(usize, usize)>,
    ) -> bool {
        let (Some(first), rest) = (self.segments.get(segment), parts.get(part)) else {
            return part == parts.len();
        };
        if failed.contains(&(segment, part)) {
            return false;
        }
        let matched = match first {
            Segment::Folders => {
                self.walk(segment + 1, parts, part, captures, failed)
                    || rest.is_some_and(|name| !name.starts_with('.'))
                        && self.walk(segment, parts, part + 1, captures, failed)
            }
            Segment::Name(tokens) => match rest.and_then(|name| name_matches(tokens, name)) {
                Some(found) if self.walk(segment + 1, parts, part + 1, captures, failed) => {
                    captures.extend(found);
                    true
                }
                _ => false,
            },
        };
        if !matched {
            failed.insert((segment, part));
        }
        matched
    }
}

fn tokens(part: &str, names: &mut HashSet<String>) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = part.chars();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' if tokens.last() == Some(&Token::Any) => return Err("has '**' inside a part; it stands alone"),
            '*' => Token::Any,
            '?' => Token::One,
            '{' => {
                let Some((name, after)) = rest.as_str().split_once('}') else {
                    return Err("has a '{' without its '}'");
                };
                rest = after.chars();
                let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
                if !name.starts_with(letter) || !name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
                    return Err("has braces that do not hold one name of letters, digits and '_'");
                }
                if !names.insert(name.to_owned()) {
                    return Err("uses a name between braces twice");
                }
                Token::Capture(name.to_owned())
            }
            '}' => return Err("has a '}' without its '{'"),
            c => Token::Literal(c),
        });
    }
    match are_divided(&tokens) {
        true => Ok(tokens),
        false => Err("has a {capture} beside '*' or another one; write the character that divides them"),
    }
}

/// True where a character of the pattern stands between each capture and what else takes any number of characters: without
/// one, nothing says how many are whose.
fn are_divided(tokens: &[Token]) -> bool {
    let mut open: Option<&Token> = None;
    for token in tokens {
        match token {
            Token::Literal(_) => open = None,
            Token::One => {}
            Token::Any | Token::Capture(_) => {
                let before = open.replace(token);
                if before.is_some_and(|before| *before != Token::Any || *token != Token::Any) {
                    return false;
                }
            }
        }
    }
    true
}

/// Backtracks over how much each wildcard takes, shortest first; states known to fail are not tried again, so the cost
/// is the product of the lengths, whatever the name.
fn name_matches(tokens: &[Token], name: &str) -> Option<Vec<(String, String)>> {
    if name.starts_with('.') && tokens.first() != Some(&Token::Literal('.')) {
        return None;
    }
    let chars: Vec<char> = name.chars().collect();
    let mut failed = vec![false; (tokens.len() + 1) * (chars.len() + 1)];
    let mut ends = vec![0; tokens.len()];
    if !step(tokens, &chars, 0, 0, &mut ends, &mut failed) {
        return None;
    }
    let mut start = 0;
    let mut captures = Vec::new();
    for (token, end) in tokens.iter().zip(ends) {
        if let Token::Capture(name) = token {
            captures.push((name.clone(), chars.get(start..end).unwrap_or_default().iter().collect()));
        }
        start = end;
    }
    Some(captures)
}

fn step(tokens: &[Token], chars: &[char], t: usize, c: usize, ends: &mut [usize], failed: &mut [bool]) -> bool {
    let Some(token) = tokens.get(t) else {
        return c == chars.len();
    };
    let state = t * (chars.len() + 1) + c;
    if failed.get(state).copied().unwrap_or(true) {
        return false;
    }
    let (least, most) = match token {
        Token::Literal(l) if chars.get(c) == Some(l) => (1, 1),
        Token::Literal(_) => (1, 0),
        Token::One => (1, 1),
        Token::Any => (0, chars.len()),
        Token::Capture(_) => (1, chars.len()),
    };
    for end in c + least..=(c + most).min(chars.len()) {
        if step(tokens, chars, t + 1, end, ends, failed) {
            if let Some(slot) = ends.get_mut(t) {
                *slot = end;
            }
            return true;
        }
    }
    if let Some(slot) = failed.get_mut(state) {
        *slot = true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn captures(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        Pattern::parse(pattern)
            .unwrap()
            .matches(path)
            .map(|c| c.into_iter().collect())
    }

    fn is_match(pattern: &str, path: &str) -> bool {
        captures(pattern, path).is_some()
    }

    #[test]
    fn wildcards_stay_within_a_name_and_double_stars_cross_folders() {
        assert!(is_match("inbox/*.csv", "inbox/a.csv"));
        assert!(is_match("./inbox/*.csv", "inbox/a.csv"));
        assert!(!is_match("inbox/*.csv", "inbox/b/a.csv"));
        assert!(is_match("inbox/**/*.csv", "inbox/a.csv"));
        assert!(is_match("inbox/**/*.csv", "inbox/b/c/a.csv"));
        assert!(is_match("**/b/**/a?.csv", "x/b/y/b/z/a1.csv"));
        assert!(!is_match("inbox/a?.csv", "inbox/a.csv"));
        assert!(is_match("导出/检验?.csv", "导出/检验一.csv"));
        assert!(!is_match("*.csv", "a.csv.gz"));
    }

    #[test]
    fn hidden_names_are_matched_only_when_asked_for() {
        assert!(!is_match("*.csv", ".a.csv"));
        assert!(!is_match("{x}.csv", ".a.csv"));
        assert!(!is_match("**/*.csv", ".git/a.csv"));
        assert!(is_match(".*.csv", ".a.csv"));
    }

    #[test]
    fn captures_take_as_little_as_the_rest_allows() {
        let got = captures("notes/{mrn}/{visit}_{kind}.txt", "notes/00123/v1_op_note.txt").unwrap();
        let pairs: Vec<(&str, &str)> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("kind", "op_note"), ("mrn", "00123"), ("visit", "v1")]);
        assert!(captures("{a}_{b}.txt", "_x.txt").is_none());
        assert_eq!(captures("lis_{date}.csv", "lis_2026.csv").unwrap()[0].1, "2026");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for pattern in [
            "", "/a", "a//b", "../a", "a/../b", "a/**", "a**/b", "{a}/{a}", "{}", "{a b}", "{a", "a}", "{1}", "{a}*",
            "*{a}", "{a}{b}", "{a}?*",
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_long_name_does_not_explode() {
        let pattern = format!("{}b", "*a".repeat(30));
        assert!(!is_match(&pattern, &"a".repeat(250)));
        let folders = format!("{}b", "**/a/".repeat(12));
        assert!(!is_match(&folders, &vec!["a"; 60].join("/")));
    }

    #[test]
    fn folders_that_cannot_match_are_not_entered() {
        let pattern = Pattern::parse("inbox/{ward}/*.csv").unwrap();
        assert!(pattern.may_hold(&[]) && pattern.may_hold(&["inbox"]) && pattern.may_hold(&["inbox", "3"]));
        assert!(!pattern.may_hold(&["out"]) && !pattern.may_hold(&["inbox", "3", "x"]));
        let pattern = Pattern::parse("inbox/**/x/*.csv").unwrap();
        assert!(pattern.may_hold(&["inbox", "a", "b"]) && !pattern.may_hold(&["inbox", ".a"]));
        assert!(Pattern::parse("**/.out/*.csv").unwrap().may_hold(&["a", ".out"]));
    }

    /// The definition, without any care for cost.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((&'*', rest)), _) => (0..=name.len()).any(|n| naive(rest, &name[n..])),
            (Some((&'?', rest)), Some((_, name))) => naive(rest, name),
            (Some((p, rest)), Some((c, name))) => p == c && naive(rest, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn names_match_as_defined(pattern in "[ab?]{0,2}\\*?[ab?]{1,3}\\*?[ab?]{0,2}", name in "[ab]{1,8}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(is_match(&pattern, &name), naive(&chars(&pattern), &chars(&name)));
        }

        #[test]
        fn captures_put_back_give_the_path(path in "[a-c_]{1,6}/[a-c_]{1,9}\\.txt") {
            if let Some(found) = captures("{dir}/{one}_{two}.txt", &path) {
                let [(_, dir), (_, one), (_, two)] = &found[..] else { panic!() };
                prop_assert!(!one.is_empty() && !two.is_empty());
                prop_assert_eq!(format!("{dir}/{one}_{two}.txt"), path);
                prop_assert!(!one[1..].contains('_'));
            }
        }
    }
}
