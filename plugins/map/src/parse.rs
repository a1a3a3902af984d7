//! The expression language: text to tree, with the place of every node.
//!
//! ```text
//! or    := and ("or" and)*
//! and   := not ("and" not)*
//! not   := "not" not | sum (("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=") sum)?
//! sum   := product (("+" | "-") product)*
//! product := unary (("*" | "/") unary)*
//! unary := "-" unary | 'text' | 1.5 | true | false | null | name | "name" | name "(" or ("," or)* ")" | "(" or ")"
//! ```

use crate::hint;

/// What is wrong with an expression, and where (0-based, in characters).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The first character concerned.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What to write instead, where that can be told.
    pub hint: Option<String>,
}

/// A node and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// The first character.
    pub at: usize,
    /// What it is.
    pub node: Node,
}

/// The kinds of nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Text.
    Text(String),
    /// Digits, perhaps with a point.
    Number(String),
    /// A column.
    Column(String),
    /// `-` or `not`.
    Unary(Op, Box<Tree>),
    /// Two operands.
    Binary(Op, Box<Tree>, Box<Tree>),
    /// A function by name.
    Call(String, Vec<Tree>),
}

/// Operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `or`
    Or,
    /// `and`
    And,
    /// `not`
    Not,
    /// `=`
    Eq,
    /// `!=` or `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
}

/// Nodes in an expression, and levels of nesting.
const MOST_TOKENS: usize = 2000;
const DEEPEST: usize = 50;

/// Reads an expression.
///
/// # Errors
/// At the first place that does not fit the grammar.
pub fn parse(text: &str) -> Result<Tree, Wrong> {
    let tokens = tokens(text)?;
    let end = text.chars().count();
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
        end,
    };
    let tree = parser.binary(0)?;
    match parser.tokens.get(parser.next) {
        None => Ok(tree),
        Some(_) => Err(parser.expected("an operator or the end is expected")),
    }
}

fn wrong(at: usize, what: impl Into<String>) -> Wrong {
    Wrong {
        at,
        what: what.into(),
        hint: None,
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Number(String),
    Sign(&'static str),
}

const SIGNS: [&str; 15] = [
    "!=", "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "(", ")", ",", "%",
];

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Wrong> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    let run = |from: usize, fits: &dyn Fn(char) -> bool| -> String {
        chars.iter().skip(from).take_while(|c| fits(**c)).collect()
    };
    while let Some(&c) = chars.get(at) {
        if tokens.len() > MOST_TOKENS {
            return Err(wrong(at, "the expression is too long"));
        }
        let begun = at;
        let token = if c.is_whitespace() {
            at += 1;
            continue;
        } else if c == '\'' || c == '"' {
            let mut content = String::new();
            at += 1;
            loop {
                match (chars.get(at), chars.get(at + 1)) {
                    (None, _) => return Err(wrong(begun, "a quote is not closed")),
                    (Some(q), Some(r)) if *q == c && *r == c => {
                        content.push(c);
                        at += 2;
                    }
                    (Some(q), _) if *q == c => break,
                    (Some(other), _) => {
                        content.push(*other);
                        at += 1;
                    }
                }
            }
            at += 1;
            if c == '"' {
                Token::Quoted(content)
            } else {
                Token::Text(content)
            }
        } else if c.is_ascii_digit() {
            let number = run(at, &|c| c.is_ascii_digit() || c == '.');
            at += number.len();
            if number.matches('.').count() > 1 || number.ends_with('.') {
                return Err(wrong(begun, "this is not a number"));
            }
            Token::Number(number)
        } else if c.is_alphabetic() || c == '_' {
            let word = run(at, &|c| c.is_alphanumeric() || c == '_');
            at += word.chars().count();
            Token::Word(word)
        } else {
            let fits = |sign: &&&str| sign.chars().enumerate().all(|(i, s)| chars.get(at + i) == Some(&s));
            let Some(sign) = SIGNS.iter().find(fits) else {
                let hint = hint::of_sign(c, chars.get(at + 1).copied()).map(str::to_owned);
                let what = "this sign has no meaning here".to_owned();
                return Err(Wrong { at, what, hint });
            };
            at += sign.len();
            Token::Sign(sign)
        };
        tokens.push((begun, token));
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    end: usize,
}

impl Parser {
    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    /// What is wrong at the token that is next.
    fn expected(&self, what: &str) -> Wrong {
        let before = self.next.checked_sub(1).and_then(|at| self.tokens.get(at));
        let hint = match (before, self.tokens.get(self.next)) {
            (Some((_, Token::Word(word))), _) if word.eq_ignore_ascii_case("if") => hint::of_word(word),
            (_, Some((_, Token::Word(word)))) => hint::of_word(word),
            (Some((_, Token::Sign(first))), Some((_, Token::Sign(second)))) => hint::of_signs(first, second),
            (_, Some((_, Token::Sign("%")))) => hint::of_word("mod"),
            _ => None,
        };
        Wrong {
            hint: hint.map(str::to_owned),
            ..wrong(self.at(), what)
        }
    }

    fn sign(&mut self, sign: &str) -> bool {
        let here = matches!(self.tokens.get(self.next), Some((_, Token::Sign(s))) if *s == sign);
        self.next += usize::from(here);
        here
    }

    fn operator(&self) -> Option<(Op, usize)> {
        Some(match self.tokens.get(self.next)? {
            (_, Token::Word(word)) if word == "or" => (Op::Or, 1),
            (_, Token::Word(word)) if word == "and" => (Op::And, 2),
            (_, Token::Sign(sign)) => match *sign {
                "=" => (Op::Eq, 4),
                "!=" | "<>" => (Op::Ne, 4),
                "<" => (Op::Lt, 4),
                "<=" => (Op::Le, 4),
                ">" => (Op::Gt, 4),
                ">=" => (Op::Ge, 4),
                "+" => (Op::Add, 5),
                "-" => (Op::Sub, 5),
                "*" => (Op::Mul, 6),
                "/" => (Op::Div, 6),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Operators that bind at least as tightly as `least`; comparisons do not chain.
    fn binary(&mut self, least: usize) -> Result<Tree, Wrong> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(wrong(self.at(), "the expression is nested too deeply"));
        }
        let mut left = self.unary()?;
        let mut ceiling = usize::MAX;
        while let Some((op, level)) = self.operator() {
            if level < least {
                break;
            }
            if level == 4 && ceiling == 4 {
                return Err(wrong(self.at(), "comparisons do not chain: join them with and"));
            }
            ceiling = level;
            self.next += 1;
            let right = self.binary(level + 1)?;
            left = Tree {
                at: left.at,
                node: Node::Binary(op, Box::new(left), Box::new(right)),
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Tree, Wrong> {
        let at = self.at();
        if self.sign("-") {
            let operand = self.binary(7)?;
            return Ok(Tree {
                at,
                node: Node::Unary(Op::Sub, Box::new(operand)),
            });
        }
        if self.sign("(") {
            let inner = self.binary(0)?;
            return match self.sign(")") {
                true => Ok(inner),
                false => Err(self.expected("a closing parenthesis is missing")),
            };
        }
        let Some((_, token)) = self.tokens.get(self.next).cloned() else {
            return Err(wrong(at, "a value is missing"));
        };
        if matches!(token, Token::Sign(_)) {
            return Err(self.expected("a value is missing"));
        }
        self.next += 1;
        let node = match token {
            Token::Word(word) if word == "not" => {
                let operand = self.binary(3)?;
                Node::Unary(Op::Not, Box::new(operand))
            }
            Token::Word(word) if self.sign("(") => Node::Call(word, self.arguments()?),
            Token::Word(word) => match word.as_str() {
                "null" => Node::Null,
                "true" => Node::Bool(true),
                "false" => Node::Bool(false),
                "and" | "or" => return Err(wrong(at, "a value is missing")),
                _ => Node::Column(word),
            },
            Token::Quoted(name) => Node::Column(name),
            Token::Text(text) => Node::Text(text),
            Token::Number(number) => Node::Number(number),
            Token::Sign(_) => return Err(wrong(at, "a value is missing")),
        };
        Ok(Tree { at, node })
    }

    fn arguments(&mut self) -> Result<Vec<Tree>, Wrong> {
        let mut arguments = Vec::new();
        if self.sign(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.binary(0)?);
            if self.sign(")") {
                return Ok(arguments);
            }
            if !self.sign(",") {
                return Err(self.expected("a comma or a closing parenthesis is missing"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(text: &str) -> String {
        fn of(tree: &Tree) -> String {
            match &tree.node {
                Node::Binary(op, a, b) => format!("({} {op:?} {})", of(a), of(b)),
                Node::Unary(op, a) => format!("({op:?} {})", of(a)),
                Node::Call(name, arguments) => {
                    format!("{name}({})", arguments.iter().map(of).collect::<Vec<_>>().join(","))
                }
                Node::Column(name) | Node::Number(name) | Node::Text(name) => name.clone(),
                other => format!("{other:?}"),
            }
        }
        of(&parse(text).unwrap())
    }

    #[test]
    fn operators_bind_as_usual() {
        assert_eq!(shape("a + b * -c"), "(a Add (b Mul (Sub c)))");
        assert_eq!(shape("a - b - c"), "((a Sub b) Sub c)");
        assert_eq!(shape("not a = 1 and b or c"), "(((Not (a Eq 1)) And b) Or c)");
        assert_eq!(shape("if(\"性别\" = '男', 1, 2)"), "if((性别 Eq 男),1,2)");
        assert_eq!(shape("'it''s'"), "it's");
    }

    #[test]
    fn errors_have_places() {
        let at = |text: &str| parse(text).unwrap_err().at;
        assert_eq!(at("a + "), 4);
        assert_eq!(at("年龄 + )"), 5);
        assert_eq!(at("a = b = c"), 6);
        assert_eq!(at("'open"), 0);
        assert_eq!(at("a b"), 2);
        assert!(parse(&"(".repeat(10_000)).is_err());
        assert!(parse(&"-".repeat(10_000)).is_err());
    }

    /// A hint is no guess: what fits the grammar of nobody is told as before.
    #[test]
    fn hints_are_of_what_is_known() {
        for text in ["a b", "a + )", "1 # 2", "f(1 2)", "'open"] {
            assert_eq!(parse(text).unwrap_err().hint, None, "{text}");
        }
        assert!(parse("\"is\" + \"in\"").is_ok() && parse("is = 'in'").is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a1.'\"()+*/<=>!, -]{0,30}") {
            let _ = parse(&text);
        }
    }
}
