//! What to write instead of what other languages have: SQL, Python, spreadsheets, Chinese keyboards.

use crate::{core::Type, parse::Op};

/// Instead of a word where an operator is expected; nothing for a word of nobody's.
pub fn of_word(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "and" => "write and in lower case",
        "or" => "write or in lower case",
        "is" | "isnull" | "notnull" => "write is_null(a), or not is_null(a)",
        "in" => "there is no in: write a = 'x' or a = 'y'",
        "between" => "there is no between: write a >= x and a <= y",
        "not" => "not stands before the whole condition: not (a = 'x')",
        "like" | "ilike" | "similar" | "rlike" | "regexp" | "glob" => {
            "there are no patterns of text: the `sql:` of a transform has them"
        }
        "case" | "when" | "then" | "else" | "elif" | "end" | "if" => {
            "there is no case: write if(condition, then, else), one within the other"
        }
        "div" => "write / for a division",
        "mod" => NO_REMAINDER,
        "over" | "from" | "select" | "where" => "a query goes into the `sql:` of a transform",
        _ => return None,
    })
}

/// Instead of a sign that is none of the language, with what follows it.
pub fn of_sign(sign: char, next: Option<char>) -> Option<&'static str> {
    Some(match (sign, next) {
        ('|', Some('|')) => "texts are joined by concat(a, b), conditions by or",
        ('&', Some('&')) => "conditions are joined by and",
        ('|' | '&', _) => "conditions are joined by and, or",
        ('!', _) => "write not, and != between two values",
        ('“' | '”' | '‘' | '’' | '「' | '」' | '＇' | '＂', _) => {
            "a text stands in straight quotes: 'text'; a name of a column in \"name\""
        }
        ('`' | '[' | ']', _) => "a name that is no word stands in double quotes: \"name\"",
        ('（' | '）', _) => "write ( and )",
        ('，' | '、', _) => "write a comma: ,",
        ('＝', _) => "write =",
        ('＞' | '≥', _) => "write > or >=",
        ('＜' | '≤', _) => "write < or <=",
        ('≠', _) => "write !=",
        ('＋', _) => "write +",
        ('－' | '−' | '–' | '—', _) => "write -",
        ('×' | '＊', _) => "write *",
        ('÷' | '／', _) => "write /",
        ('^', _) => "there are no powers: multiply, or use the `sql:` of a transform",
        (';' | '；', _) => "an expression is one, and ends without a sign",
        ('?' | ':' | '：', _) => "write if(condition, then, else)",
        ('.', _) => "a column has one name; a number begins with a digit: 0.5",
        ('{' | '}' | '$', _) => "a column is its name alone",
        _ => return None,
    })
}

/// Instead of two signs that stand side by side.
pub fn of_signs(first: &str, second: &str) -> Option<&'static str> {
    Some(match (first, second) {
        ("=", "=") => "equality is one =",
        ("=", "<") => "write <=",
        ("=", ">") => "write >=",
        ("*", "*") => "there are no powers: multiply",
        ("/", "/") => "write / for a division",
        (_, "%") => NO_REMAINDER,
        _ => return None,
    })
}

const NO_REMAINDER: &str = "there is no remainder of a division: the `sql:` of a transform has it";

/// What makes two values go together.
pub fn of_types(op: Op, a: Type, b: Type) -> Option<String> {
    let either = |fits: fn(Type) -> bool| fits(a) || fits(b);
    let (numeric, string) = (either(Type::is_numeric), either(|t| t == Type::Str));
    let other = if a == Type::Str { b } else { a };
    Some(match op {
        Op::And | Op::Or => "and, or join conditions, each with its own comparison: a = 'x' or a = 'y'".to_owned(),
        Op::Add if string => "texts are joined by concat(a, b)".to_owned(),
        Op::Add | Op::Sub if either(|t| matches!(t, Type::Date | Type::Ts)) => {
            "days are reckoned in the `sql:` of a transform".to_owned()
        }
        Op::Add | Op::Sub | Op::Mul | Op::Div if string && numeric => format!("{BEFORE} `type: decimal`"),
        _ if string && numeric => format!("a text stands in quotes ('1'), or {BEFORE} `type: {}`", other.name()),
        _ if string && other == Type::Bool => {
            format!("write true or false without quotes, or {BEFORE} `type: boolean`")
        }
        _ if string && matches!(other, Type::Date | Type::Ts) => {
            let name = other.name();
            format!("no constant is a {name}: a step map before makes a column of it, `{{ value: …, type: {name} }}`")
        }
        _ => return None,
    })
}

const BEFORE: &str = "cast the text in a step map before:";
