//! What is wrong with a text whatever the columns are, seen in what the parser made of it.

use super::{
    deep::{self, Unfolded},
    local::CLOCKS,
    words,
};
use datafusion::{
    execution::session_state::SessionState,
    logical_expr::Volatility,
    sql::sqlparser::{
        ast::{Expr, Function, Ident, ObjectName, Query, Spanned as _, Value, ValueWithSpan, Visit, Visitor},
        keywords::Keyword,
        tokenizer::{Location, Token},
    },
};
use std::ops::ControlFlow;

/// What a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A query.
    Query,
    /// A condition on one row, of somebody who looks.
    Look,
    /// A condition on one row, which says the same at every run.
    Condition,
}

/// Looks at a text and what was made of it.
///
/// # Errors
/// The byte of what is wrong first, and what is.
pub(super) fn check(
    text: &str,
    parsed: &impl Visit,
    role: Role,
    tokens: &[(usize, Token)],
    state: &SessionState,
) -> Result<(), (usize, String)> {
    let mut reader = Reader {
        text,
        role,
        tokens,
        state,
        unfolded: Unfolded::default(),
    };
    match parsed.visit(&mut reader) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(wrong) => Err(wrong),
    }
}

struct Reader<'a> {
    text: &'a str,
    role: Role,
    tokens: &'a [(usize, Token)],
    state: &'a SessionState,
    unfolded: Unfolded,
}

impl Reader<'_> {
    fn wrong(&self, at: Location, what: String) -> ControlFlow<(usize, String)> {
        let at = words::byte(self.text, at.line as usize, at.column as usize);
        ControlFlow::Break((at, what))
    }

    /// Where the first query begins: behind a bracket.
    fn query(&self) -> usize {
        let mut said = self.tokens.iter().filter(|(_, t)| !matches!(t, Token::Whitespace(_)));
        let mut before = &Token::EOF;
        let begins = said.find(|(_, token)| {
            let opened = std::mem::replace(&mut before, token) == &Token::LParen;
            opened && matches!(token, Token::Word(word) if BEGINNING.contains(&word.keyword))
        });
        begins.map_or(0, |(at, _)| *at)
    }

    fn function(&self, function: &Function, name: &Ident) -> ControlFlow<(usize, String)> {
        let lower = name.value.to_ascii_lowercase();
        let at = name.span.start;
        let scalar = self.state.scalar_functions().get(&lower);
        let of_rows =
            self.state.aggregate_functions().contains_key(&lower) || self.state.window_functions().contains_key(&lower);
        if function.over.is_some() || (of_rows && scalar.is_none()) {
            return self.wrong(at, words::MORE_THAN_ONE_ROW.to_owned());
        }
        let differs = |volatility| volatility == Volatility::Volatile || CLOCKS.contains(&lower.as_str());
        match scalar.is_some_and(|scalar| differs(scalar.signature().volatility)) && self.role == Role::Condition {
            true => self.wrong(at, format!("{lower}() gives another result at every run")),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Reader<'_> {
    type Break = (usize, String);

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if self.role != Role::Query {
            return ControlFlow::Break((self.query(), "a query within a condition cannot be run".to_owned()));
        }
        if let Some(with) = query.with.as_ref().filter(|with| with.recursive) {
            let what = "`with recursive` may run without an end; write the steps as transforms, one after the other";
            return self.wrong(with.with_token.0.span.start, what.to_owned());
        }
        self.unfolded.open(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        match self.unfolded.close(query) {
            true => ControlFlow::Continue(()),
            false => self.wrong(query.span().start, deep::too_many()),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        match self.unfolded.read(relation) {
            true => ControlFlow::Continue(()),
            false => self.wrong(relation.span().start, deep::too_many()),
        }
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<Self::Break> {
        match &value.value {
            Value::Placeholder(name) => {
                let what = format!("`{name}` stands for a value that nobody gives; write the value");
                self.wrong(value.span.start, what)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        if self.role == Role::Query {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::Function(function) => match function.name.0.last().and_then(|part| part.as_ident()) {
                Some(name) => self.function(function, name),
                None => ControlFlow::Continue(()),
            },
            // In the brackets that a condition gets, it would begin a query.
            Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("select") => {
                let what = format!("`{name}` is a word of SQL; a column of this name is written in quotes: \"{name}\"");
                self.wrong(name.span.start, what)
            }
            // DataFusion takes the last two names of it.
            Expr::CompoundIdentifier(parts) if parts.len() > 2 => {
                let names: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
                self.wrong(
                    expr.span().start,
                    words::no_column(&names.join("."), names.last().copied()),
                )
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Words that a query begins with.
const BEGINNING: [Keyword; 5] = [
    Keyword::SELECT,
    Keyword::WITH,
    Keyword::VALUES,
    Keyword::FROM,
    Keyword::TABLE,
];
