//! How deep a query may be. The parser bounds brackets, and reads a chain of operators in a loop; but the tree of a chain is as
//! deep as it is long, and whatever goes down a tree calls itself: at some depth the whole process ends.

use datafusion::sql::sqlparser::{
    ast::{ObjectName, Query},
    keywords::Keyword,
    tokenizer::Token,
};
use std::collections::HashMap;

/// The most operators of one expression, each over the one before. Of casts, 1,000 were run and 2,000 ended the process.
pub(super) const OPERATORS: usize = 500;
/// The most relations and parts of unions, which may be one within the other, and the most when each name of a `with` stands for
/// what it names: a query is planned once for each time it is read.
pub(super) const RELATIONS: usize = 500;

/// Refuses a query that is too deep, before it is parsed.
///
/// # Errors
/// The byte where it becomes so, and what to write instead.
pub(super) fn check(tokens: &[(usize, Token)]) -> Result<(), (usize, String)> {
    let mut open: Vec<Level> = Vec::new();
    let mut level = Level::new(false);
    let (mut relations, mut before) = (0, Keyword::NoKeyword);
    for (at, token) in tokens {
        let keyword = match token {
            Token::Word(word) => word.keyword,
            Token::Whitespace(_) => continue,
            _ => Keyword::NoKeyword,
        };
        match token {
            Token::LParen | Token::LBrace => open.push(std::mem::replace(&mut level, Level::new(false))),
            Token::LBracket => {
                level.operators += 1;
                open.push(std::mem::replace(&mut level, Level::new(false)));
            }
            Token::RParen | Token::RBrace | Token::RBracket => {
                while level.is_case {
                    level = level.within(open.pop());
                }
                level = level.within(open.pop());
            }
            Token::Comma => {
                relations += usize::from(level.is_from);
                level.begin();
            }
            Token::Word(_) => match keyword {
                Keyword::CASE => open.push(std::mem::replace(&mut level, Level::new(true))),
                Keyword::END if level.is_case => level = level.within(open.pop()),
                // `is distinct from` is an operator.
                Keyword::FROM if before == Keyword::DISTINCT => {}
                _ if BEGINNING.contains(&keyword) => {
                    level.begin();
                    level.is_from = keyword == Keyword::FROM;
                }
                _ if CHAINING.contains(&keyword) => level.operators += 1,
                _ => {}
            },
            _ if !is_value(token) => level.operators += 1,
            _ => {}
        }
        relations += usize::from(RELATING.contains(&keyword));
        if level.depth() > OPERATORS {
            return Err((
                *at,
                format!(
                    "it has more than {OPERATORS} operators in one expression; compare with many values by `in (…)`, and compute \
                     what is long in several steps"
                ),
            ));
        }
        if relations > RELATIONS {
            return Err((*at, too_many()));
        }
        before = keyword;
    }
    Ok(())
}

pub(super) fn too_many() -> String {
    format!("it puts more than {RELATIONS} relations together; make several transforms of it")
}

/// Counts the relations of a query with what the names of `with` stand for in their place.
#[derive(Default)]
pub(super) struct Unfolded(Vec<Body>);

/// A query that is being read.
#[derive(Default)]
struct Body {
    relations: usize,
    /// The relations of each name that was read.
    named: HashMap<String, usize>,
    /// The names whose queries are to be read.
    names: Vec<(*const Query, String)>,
}

impl Unfolded {
    /// A query begins.
    pub fn open(&mut self, query: &Query) {
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.push(Body {
            names: named
                .map(|cte| (std::ptr::from_ref(&*cte.query), cte.alias.name.value.to_lowercase()))
                .collect(),
            ..Body::default()
        });
    }

    /// It ends. False where there are too many relations now.
    pub fn close(&mut self, query: &Query) -> bool {
        let relations = self.0.pop().map_or(0, |body| body.relations);
        let Some(around) = self.0.last_mut() else { return true };
        match around.names.iter().find(|(of, _)| std::ptr::eq(*of, query)) {
            Some((_, name)) => {
                around.named.insert(name.clone(), relations);
                true
            }
            None => around.add(relations),
        }
    }

    /// A relation is read. False where there are too many now.
    pub fn read(&mut self, name: &ObjectName) -> bool {
        let name = name.to_string().replace('"', "").to_lowercase();
        let relations = self.0.iter().rev().find_map(|body| body.named.get(&name)).copied();
        self.0.last_mut().is_none_or(|body| body.add(relations.unwrap_or(1)))
    }
}

impl Body {
    fn add(&mut self, relations: usize) -> bool {
        self.relations = self.relations.saturating_add(relations.max(1));
        self.relations <= RELATIONS
    }
}

/// What stands between two brackets, or `case` and `end`.
struct Level {
    is_case: bool,
    /// Relations are listed.
    is_from: bool,
    /// Of the expression that is being read.
    operators: usize,
    /// The depth of the deepest bracket in it.
    inside: usize,
    /// The depth of the deepest expression before it.
    deepest: usize,
}

impl Level {
    fn new(is_case: bool) -> Self {
        Self {
            is_case,
            is_from: false,
            operators: 0,
            inside: 0,
            deepest: 0,
        }
    }

    fn depth(&self) -> usize {
        self.deepest.max(self.operators + self.inside)
    }

    /// Another expression follows.
    fn begin(&mut self) {
        (self.deepest, self.operators, self.inside) = (self.depth(), 0, 0);
    }

    /// The level around this one, which ends. A bracket too many is for the parser to tell.
    fn within(self, around: Option<Self>) -> Self {
        let mut around = around.unwrap_or_else(|| Self::new(false));
        around.inside = around.inside.max(self.depth());
        around
    }
}

/// Words behind which another expression begins.
const BEGINNING: [Keyword; 9] = [
    Keyword::SELECT,
    Keyword::FROM,
    Keyword::WHERE,
    Keyword::HAVING,
    Keyword::QUALIFY,
    Keyword::ON,
    Keyword::WHEN,
    Keyword::THEN,
    Keyword::ELSE,
];
/// Words that are operators.
const CHAINING: [Keyword; 19] = [
    Keyword::OR,
    Keyword::AND,
    Keyword::XOR,
    Keyword::NOT,
    Keyword::AT,
    Keyword::IS,
    Keyword::NOTNULL,
    Keyword::IN,
    Keyword::BETWEEN,
    Keyword::OVERLAPS,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::RLIKE,
    Keyword::REGEXP,
    Keyword::MATCH,
    Keyword::SIMILAR,
    Keyword::MEMBER,
    Keyword::DIV,
    Keyword::COLLATE,
];
/// Words of which each brings one more relation.
const RELATING: [Keyword; 6] = [
    Keyword::SELECT,
    Keyword::JOIN,
    Keyword::UNION,
    Keyword::INTERSECT,
    Keyword::EXCEPT,
    Keyword::MINUS,
];

fn is_value(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_)
            | Token::Period
            | Token::SemiColon
            | Token::EOF
    )
}
