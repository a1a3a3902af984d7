//! What DataFusion and its parser say of a query, in words of our own, and where in the text it is.

use super::name_of;
use clinmill_spec::did_you_mean;
use datafusion::{
    arrow::error::ArrowError,
    common::{SchemaError, config::Dialect},
    error::DataFusionError,
    sql::sqlparser::{
        dialect::{GenericDialect, dialect_from_str},
        parser::ParserError,
        tokenizer::{Token, Tokenizer},
    },
};

const NO_COLUMN: &str = "there is no column \"";
const NO_FUNCTION: &str = "there is no function \"";
pub(super) const MORE_THAN_ONE_ROW: &str = "it needs more than one row: an aggregate or window function stands in it";
const BY_ZERO: &str =
    "it divides by zero in a row; write `nullif(…, 0)` around what it divides by, and the result is null";
const TOO_LARGE: &str =
    "a whole number in it becomes larger than 64 bits hold; cast what it is made of to `decimal(38, 0)` or `double`";

/// What is wrong with a query, and what may be meant; in the parser's words, first line only, where we have none. It quotes
/// the query and the columns, and no value of a row.
pub fn plain(error: &DataFusionError) -> String {
    own(error).unwrap_or_else(|| {
        let text = error.strip_backtrace();
        let text = text.lines().next().unwrap_or_default();
        let text = text.split_once("error: ").map_or(text, |(_, rest)| rest);
        let text = text.strip_prefix("Error during planning: ").unwrap_or(text);
        match text.contains(" { ") {
            true => "it cannot be planned".to_owned(),
            false => text.trim_end_matches('.').to_owned(),
        }
    })
}

/// What the rows of a query did to it. DataFusion quotes values in the errors of casts and arithmetic: nothing of them is
/// said.
pub fn of_rows(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => BY_ZERO.to_owned(),
            ArrowError::ArithmeticOverflow(_) => TOO_LARGE.to_owned(),
            _ => "a value does not fit the type that the query wants; use try_cast, or a map step before it".to_owned(),
        },
        _ => "the query failed on these rows".to_owned(),
    }
}

/// What is wrong with an expression, with the place in it.
pub fn of_expression(text: &str, error: &DataFusionError) -> String {
    let message = own(error).unwrap_or_else(|| "it does not fit the columns".to_owned());
    of_place(text, culprit(text, &message).map(|(at, _)| at), &message)
}

/// The same of what is wrong at this byte.
pub fn of_place(text: &str, at: Option<usize>, message: &str) -> String {
    let advice = "write a SQL expression over the columns, such as: value is null and unit = 'U/L'";
    match at {
        Some(at) => format!(
            "the expression cannot be used: {message}{}\n  {advice}",
            excerpt(text, at)
        ),
        None => format!("the expression cannot be used: {message}\n  {advice}"),
    }
}

/// The line of the text with a mark below this byte; nothing for a line that is long.
fn excerpt(text: &str, at: usize) -> String {
    let start = text
        .get(..at)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |at| at + 1);
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    if line.is_empty() || line.chars().count() > 100 {
        return String::new();
    }
    let before = text.get(start..at).unwrap_or_default();
    // Characters of East Asia take two columns of a terminal.
    let column: usize = before.chars().map(|c| if c >= '\u{1100}' { 2 } else { 1 }).sum();
    format!("\n    {line}\n    {}^", " ".repeat(column))
}

/// How a parser's message ends that found nothing more.
const AT_END: &str = "not the end";

fn own(error: &DataFusionError) -> Option<String> {
    use DataFusionError as D;
    Some(match error.find_root() {
        D::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let known = valid_fields.iter().map(|column| column.name.as_str());
                match &field.relation {
                    // It is the name before the column's that is wrong.
                    Some(relation) if known.clone().any(|name| name == field.name) => {
                        no_column(&format!("{}.{}", name_of(relation), field.name), Some(&field.name))
                    }
                    _ => match did_you_mean(&field.name, known) {
                        Some(hint) => format!("{}; {hint}", no_column(&field.name, None)),
                        None => no_column(&field.name, None),
                    },
                }
            }
            _ => return None,
        },
        D::SQL(error, _) => match error.as_ref() {
            ParserError::ParserError(said) | ParserError::TokenizerError(said) => parser(said),
            ParserError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
        },
        D::Plan(said) => planner(said)?,
        D::NotImplemented(said) if said.contains("AggregateFunction") || said.contains("WindowFunction") => {
            MORE_THAN_ONE_ROW.to_owned()
        }
        D::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => BY_ZERO.to_owned(),
            ArrowError::ArithmeticOverflow(_) => TOO_LARGE.to_owned(),
            _ => "a value in it does not fit the type that it is compared with; use try_cast".to_owned(),
        },
        _ => return None,
    })
}

/// There is no such column, but perhaps another.
pub(super) fn no_column(name: &str, meant: Option<&str>) -> String {
    let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    format!("{NO_COLUMN}{name}\"{hint}")
}

/// `Expected: an expression, found: EOF`.
fn parser(said: &str) -> String {
    let (what, place) = said.split_at(said.rfind(" at Line: ").unwrap_or(said.len()));
    let what = match what
        .strip_prefix("Expected: ")
        .and_then(|rest| rest.split_once(", found: "))
    {
        Some((wanted, "EOF")) => format!("{wanted} is expected, {AT_END}"),
        Some((wanted, found)) => format!("{wanted} is expected, not `{found}`"),
        None if what == "Unterminated string literal" => "a text has no quote at its end".to_owned(),
        None if what.contains("multi-line comment") => "a comment has no end".to_owned(),
        None if what.starts_with("No infix parser for token") => "an operator is expected".to_owned(),
        None => what.to_owned(),
    };
    format!("{what}{place}")
}

fn planner(said: &str) -> Option<String> {
    let after = |start: &str| said.split_once(start).map(|(_, rest)| rest);
    if let Some(rest) = after("Invalid function '") {
        let (name, rest) = rest.split_once('\'')?;
        let near = rest
            .split_once("Did you mean '")
            .and_then(|(_, near)| near.split('\'').next());
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Some(format!("{NO_FUNCTION}{name}\"{near}"));
    }
    if said.contains("non-boolean predicate") {
        let kind = said.rsplit_once(" returning ").map_or("", |(_, kind)| kind);
        return Some(format!("it is not true or false for a row: it is {}", kind_of(kind)));
    }
    if let Some(rest) = after("for comparison operation ") {
        let (left, operator, right) = operands(rest)?;
        return Some(format!("{left} and {right} cannot be compared by `{operator}`"));
    }
    if let Some(rest) = after("Cannot coerce arithmetic expression ") {
        let (left, operator, right) = operands(rest.split(" to valid types").next()?)?;
        return Some(format!("{left} and {right} cannot be put together by `{operator}`"));
    }
    if after("There isn't a common type to coerce").is_some_and(|rest| rest.ends_with("LIKE expression")) {
        return Some("`like` compares texts".to_owned());
    }
    if let Some(kind) = after("Unary operator 'NOT' requires a boolean expression, got ") {
        return Some(format!("`not` is of what is true or false, not of {}", kind_of(kind)));
    }
    if let Some(rest) = after("Function '").or_else(|| after("Failed to coerce arguments to satisfy a call to '")) {
        let name = rest.split('\'').next()?;
        return Some(format!(
            "{name}() takes other arguments: another number of them, or other types"
        ));
    }
    None
}

/// `Utf8 = Int64`.
fn operands(text: &str) -> Option<(&'static str, &str, &'static str)> {
    let (left, rest) = text.split_once(' ')?;
    let (operator, right) = rest.rsplit_once(' ')?;
    Some((kind_of(left), operator, kind_of(right)))
}

/// A type's name in words.
fn kind_of(name: &str) -> &'static str {
    let is = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    match name {
        _ if is(&["Utf8", "LargeUtf8"]) => "a text",
        _ if is(&["Boolean"]) => "true or false",
        _ if is(&["Int", "UInt"]) => "a whole number",
        _ if is(&["Float", "Decimal"]) => "a number",
        _ if is(&["Date"]) => "a date",
        _ if is(&["Timestamp"]) => "a time",
        "Null" => "null",
        _ => "a value of another type",
    }
}

/// A parser's message without the place it ends with (`at Line: 2, Column: 7`), and that place as a byte of the text.
pub fn located(text: &str, message: String) -> (usize, String) {
    let Some((what, place)) = message.rsplit_once(" at Line: ") else {
        // At the end of the text the parser names no place.
        let at = if message.ends_with(AT_END) {
            text.trim_end().len()
        } else {
            0
        };
        return (at.saturating_sub(1), message);
    };
    let (line, column) = place.split_once(", Column: ").unwrap_or((place, "1"));
    let number = |digits: &str| digits.trim().parse::<usize>().unwrap_or(1);
    (byte(text, number(line), number(column)), what.to_owned())
}

/// The byte of a line and a column, both counted from one.
pub(super) fn byte(text: &str, line: usize, column: usize) -> usize {
    let (line, column) = (line.saturating_sub(1), column.saturating_sub(1));
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    let offset = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
    start + offset
}

/// The tokens of a text, each with its byte.
///
/// # Errors
/// The byte where there is none, and why.
pub fn tokens(text: &str, dialect: &Dialect) -> Result<Vec<(usize, Token)>, (usize, String)> {
    let dialect = dialect_from_str(dialect).unwrap_or_else(|| Box::new(GenericDialect));
    let tokens = Tokenizer::new(dialect.as_ref(), text).tokenize_with_location();
    let tokens = tokens.map_err(|e| located(text, parser(&format!("{}{}", e.message, e.location))))?;
    let mut chars = text.char_indices().peekable();
    let mut place = (1, 1);
    let placed = tokens.into_iter().map(|token| {
        let start = token.span.start;
        while place < (start.line, start.column)
            && let Some((_, c)) = chars.next()
        {
            place = if c == '\n' {
                (place.0 + 1, 1)
            } else {
                (place.0, place.1 + 1)
            };
        }
        (chars.peek().map_or(text.len(), |(at, _)| *at), token.token)
    });
    Ok(placed.collect())
}

/// Where the word that a finding is about stands in the text, and its length.
pub fn culprit(text: &str, message: &str) -> Option<(usize, usize)> {
    let after = |start: &str| message.split_once(start).map(|(_, rest)| rest);
    let word = if let Some(rest) = after(NO_COLUMN).or_else(|| after(NO_FUNCTION)) {
        rest.split('"').next()?
    } else if let Some(clause) = ["LIMIT", "TABLESAMPLE", "FOR UPDATE", "SETTINGS", "FORMAT"]
        .into_iter()
        .find(|clause| message.starts_with(clause))
    {
        clause.split(' ').next()?
    } else if let Some(rest) = after(" name \"").or_else(|| after("the column \"")) {
        rest.split('"').next()?
    } else {
        message.split_once("()")?.0
    };
    // Same length in lower case, so that offsets hold.
    let (lower, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let is_word = |at: usize| {
        let before = lower.get(..at).and_then(|t| t.chars().next_back());
        let after = lower.get(at + word.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(inside) && !after.is_some_and(inside)
    };
    let found = lower
        .match_indices(&word)
        .map(|(at, _)| at)
        .find(|at| !word.is_empty() && is_word(*at));
    found.map(|at| (at, word.len()))
}
