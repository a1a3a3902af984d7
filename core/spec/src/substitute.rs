//! `${VAR}` and `${VAR:-default}` in values. Done on the tree, so that what comes from outside can never add keys.

use crate::{
    codes,
    pipeline::Span,
    report::{Report, quoted},
    tree::{Kind, Node},
};

/// Replaces every reference below a node. `$${` stands for a literal `${`.
pub(crate) fn apply(node: &mut Node, env: &dyn Fn(&str) -> Option<String>, report: &mut Report<'_>) {
    match &mut node.kind {
        Kind::Invalid => {}
        Kind::Sequence(items) => items.iter_mut().for_each(|item| apply(item, env, report)),
        Kind::Mapping(entries) => entries
            .iter_mut()
            .for_each(|entry| apply(&mut entry.value, env, report)),
        Kind::Scalar(scalar) => {
            if !scalar.text.contains("${") {
                return;
            }
            match expand(&scalar.text, env) {
                Ok(text) => {
                    scalar.written = Some(std::mem::replace(&mut scalar.text, text));
                }
                Err(problem) => {
                    let value = std::mem::take(&mut scalar.text);
                    let span = report.source.within(node.span, &value, problem.at, problem.length);
                    problem.tell(span, report);
                    node.kind = Kind::Invalid;
                }
            }
        }
    }
}

struct Problem {
    code: &'static str,
    at: usize,
    length: usize,
    message: String,
    hint: &'static str,
}

impl Problem {
    fn malformed(at: usize, length: usize, message: &str) -> Self {
        let hint = "write `${NAME}` or `${NAME:-default}`; `$${` stands for a literal `${`";
        Self {
            code: codes::BAD_SUBSTITUTION,
            at,
            length,
            message: message.to_owned(),
            hint,
        }
    }

    fn tell(self, span: Span, report: &mut Report<'_>) {
        report.hinted(self.code, span, self.message, Some(self.hint.to_owned()));
    }
}

fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("${")) {
        let start = at + found;
        let before = text.get(at..start).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            at = start + 2;
            continue;
        }
        out.push_str(before);
        let body = text.get(start + 2..).unwrap_or_default();
        let Some(close) = body.find('}') else {
            return Err(Problem::malformed(start, 2, "`${` has no closing `}`"));
        };
        let inner = body.get(..close).unwrap_or_default();
        let length = close + 3;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_variable(name) || default.is_some_and(|d| d.contains("${")) {
            let message = format!("{} is not a reference to a variable", quoted(&format!("${{{inner}}}")));
            return Err(Problem::malformed(start, length, &message));
        }
        match (env(name), default) {
            (Some(value), _) if !value.is_empty() => out.push_str(&value),
            (_, Some(default)) => out.push_str(default),
            (Some(_), None) => {}
            (None, None) => {
                return Err(Problem {
                    code: codes::VARIABLE_UNSET,
                    at: start,
                    length,
                    message: format!("the environment variable `{name}` is not set"),
                    hint: "set it, or give a default: `${NAME:-default}`",
                });
            }
        }
        at = start + length;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    Ok(out)
}

fn is_variable(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<String, &'static str> {
        let env = |name: &str| match name {
            "HOME" => Some("/h".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expand(text, &env).map_err(|p| p.code)
    }

    #[test]
    fn substitutes() {
        assert_eq!(with("file:${HOME}/v").unwrap(), "file:/h/v");
        assert_eq!(with("${HOME:-.}${NONE:-x}${EMPTY:-y}${EMPTY}").unwrap(), "/hxy");
        assert_eq!(with("价格 $5 $${HOME} ${NONE:-}").unwrap(), "价格 $5 ${HOME} ");
    }

    #[test]
    fn refuses_what_it_cannot_replace() {
        assert_eq!(with("${NONE}"), Err(codes::VARIABLE_UNSET));
        for bad in ["${", "${HOME", "${}", "${1A}", "${A-b}", "${A:-${B}}"] {
            assert_eq!(with(bad), Err(codes::BAD_SUBSTITUTION), "{bad}");
        }
    }
}
