//! Codes as terms (UCUM section 2.1, table 2 and the grammar below it).

use super::essence::Essence;
use std::fmt;

/// A term: components with what stands before each; a leading solidus is the first one's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term(pub Vec<(Operator, Component)>);

/// What stands before a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The full stop, or nothing.
    Times,
    /// The solidus.
    Over,
}

/// What is multiplied and divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// A unit of the table by its index, with the index of its prefix.
    Simple {
        /// The prefix.
        prefix: Option<usize>,
        /// The unit.
        atom: usize,
        /// The exponent as it is written, where one is.
        exponent: Option<i32>,
    },
    /// A positive whole number.
    Factor(String),
    /// A text in curly braces: the unit one.
    Annotation,
    /// A term in parentheses.
    Parentheses(Term),
}

/// Why a text is no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Byte offset in the code.
    pub at: usize,
    /// What is wrong. Quotes the code.
    pub reason: String,
}

impl Invalid {
    /// Something is wrong at this byte.
    pub fn new(at: usize, reason: impl Into<String>) -> Self {
        Self {
            at,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.reason, self.at)
    }
}

/// Codes longer than this are refused.
const MAX_BYTES: usize = 1_000;
/// Parentheses within parentheses, at most.
const MAX_DEPTH: usize = 50;

/// Reads a code. The empty code is the empty term: the unit one.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(code: &str, table: &Essence) -> Result<Term, Invalid> {
    if code.len() > MAX_BYTES {
        return Err(Invalid::new(MAX_BYTES, "the code is too long"));
    }
    if let Some(at) = code.bytes().position(|byte| !(33..=126).contains(&byte)) {
        return Err(Invalid::new(at, "only ASCII characters without spaces make a code"));
    }
    if code.is_empty() {
        return Ok(Term::default());
    }
    let mut parser = Parser { code, at: 0, table };
    let term = parser.term(true, 0)?;
    match parser.peek() {
        None => Ok(term),
        Some(_) => Err(parser.wrong("an operator is expected")),
    }
}

/// The pieces of a valid code, in order: numbers and units with their exponents (true), and what stands between them
/// and in braces (false).
pub fn symbols(code: &str) -> Vec<(bool, &str)> {
    let mut pieces = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_symbol = !".()/{".contains(first);
        let mut inside = false;
        let end = match first {
            '{' => rest.find('}').map(|end| end + 1),
            _ if !is_symbol => Some(1),
            _ => rest.find(|c: char| {
                match c {
                    '[' => inside = true,
                    ']' => inside = false,
                    _ => {}
                }
                !inside && ".()/{".contains(c)
            }),
        };
        let (piece, more) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, ""));
        pieces.push((is_symbol, piece));
        rest = more;
    }
    pieces
}

struct Parser<'a> {
    code: &'a str,
    at: usize,
    table: &'a Essence,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.code.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn wrong(&self, reason: impl Into<String>) -> Invalid {
        Invalid::new(self.at, reason)
    }

    fn term(&mut self, main: bool, depth: usize) -> Result<Term, Invalid> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("parentheses are nested too deeply"));
        }
        let mut operator = match main && self.take(b'/') {
            true => Operator::Over,
            false => Operator::Times,
        };
        let mut parts = Vec::new();
        loop {
            parts.push((operator, self.component(depth)?));
            operator = match self.peek() {
                Some(b'.') => Operator::Times,
                Some(b'/') => Operator::Over,
                _ => return Ok(Term(parts)),
            };
            self.at += 1;
        }
    }

    fn component(&mut self, depth: usize) -> Result<Component, Invalid> {
        match self.peek() {
            Some(b'(') => {
                self.at += 1;
                let term = self.term(false, depth + 1)?;
                match self.take(b')') {
                    true => Ok(Component::Parentheses(term)),
                    false => Err(self.wrong("a closing parenthesis is expected")),
                }
            }
            Some(b'{') => {
                self.annotation()?;
                Ok(Component::Annotation)
            }
            _ => {
                let component = self.simple()?;
                if self.peek() == Some(b'{') {
                    self.annotation()?;
                }
                Ok(component)
            }
        }
    }

    fn annotation(&mut self) -> Result<(), Invalid> {
        let rest = self.code.get(self.at + 1..).unwrap_or_default();
        match rest.find(['{', '}']) {
            Some(end) if rest.as_bytes().get(end) == Some(&b'}') => {
                self.at += end + 2;
                Ok(())
            }
            _ => Err(self.wrong("a closing brace is expected")),
        }
    }

    /// A number, or a unit with its exponent.
    fn simple(&mut self) -> Result<Component, Invalid> {
        let text = self.symbol()?;
        if text.is_empty() {
            return Err(self.wrong("a unit is expected"));
        }
        let begin = self.at;
        self.at += text.len();
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Component::Factor(text.to_owned()));
        }
        let letters = text.trim_end_matches(|c: char| c.is_ascii_digit());
        let (symbol, exponent) = match letters.len() == text.len() {
            true => (text, None),
            false => {
                let symbol = letters.strip_suffix(['+', '-']).unwrap_or(letters);
                let digits = text.get(symbol.len()..).unwrap_or_default();
                let exponent = digits.parse().map_err(|_| self.wrong("the exponent is too large"))?;
                (symbol, Some(exponent))
            }
        };
        match self.table.resolve(symbol) {
            Some((prefix, atom)) => Ok(Component::Simple { prefix, atom, exponent }),
            None => Err(Invalid::new(begin, format!("{symbol:?} is not a unit"))),
        }
    }

    /// Everything up to an operator, a parenthesis or a brace outside square brackets.
    fn symbol(&self) -> Result<&'a str, Invalid> {
        let rest = self.code.get(self.at..).unwrap_or_default();
        let mut inside = false;
        for (index, byte) in rest.bytes().enumerate() {
            match byte {
                b'[' if inside => return Err(Invalid::new(self.at + index, "a bracket within brackets")),
                b'[' => inside = true,
                b']' if !inside => return Err(Invalid::new(self.at + index, "a bracket is closed that is not open")),
                b']' => inside = false,
                b'.' | b'/' | b'(' | b')' | b'{' | b'}' if !inside => return Ok(rest.get(..index).unwrap_or_default()),
                _ => {}
            }
        }
        match inside {
            true => Err(Invalid::new(self.at, "a closing bracket is expected")),
            false => Ok(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::essence::essence, *};
    use proptest::prelude::*;

    fn valid(code: &str) -> bool {
        parse(code, essence()).is_ok()
    }

    #[test]
    fn what_is_a_code_and_what_is_not() {
        for code in [
            "/m",
            "10*-3/uL",
            "10^9/L",
            "dB[10.nV]",
            "[m/s2/Hz^(1/2)]",
            "(m.s)/kg",
            "1{c}",
            "{e}",
            "{a}.rad2{b}",
            "mL/{hb}.m2",
        ] {
            assert!(valid(code), "{code}");
        }
        for code in [
            "m/",
            "m..s",
            "10+3",
            "{a}m",
            "m{a}{b}",
            "m{a}2",
            "12h",
            "ug(8.h)",
            "(m",
            "m)",
            "(/m)",
            "m s",
            "rad2{錠}",
            "{a",
            "a}",
            "[",
            "m-",
            "k[in_i]",
            "m{a{b}}",
            "",
        ] {
            assert!(!valid(code) || code.is_empty(), "{code}");
        }
        let error = parse("mg/dLL", essence()).unwrap_err();
        assert_eq!(
            (error.at, error.to_string().as_str()),
            (3, "\"dLL\" is not a unit (at byte 3)")
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(code in "[a-zA-Z0-9./(){}\\[\\]*^%'+ \\-µ]{0,40}") {
            let _ = parse(&code, essence());
        }
    }
}
