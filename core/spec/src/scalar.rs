//! What a scalar is: null, boolean, number or text, and what a node is as JSON.

use crate::tree::{Kind, Node, Scalar};
use serde_json::{Map, Number, Value};

impl Scalar {
    /// The value as JSON. Plain scalars follow the YAML 1.2.2 core schema (section 10.3.2), except that only what is
    /// a JSON number is a number: `007`, `0x1F` and integers beyond 64 bits stay text, since nothing may be lost of a
    /// code that somebody forgot to quote.
    pub(crate) fn value(&self) -> Value {
        if !self.plain {
            return Value::String(self.text.clone());
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Value::Null,
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            text => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
        }
    }

    /// As it may be shown in a message.
    pub(crate) fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    // The first two bytes tell most texts from numbers without parsing.
    let mut bytes = digits.bytes();
    let (first, second) = (bytes.next()?, bytes.next());
    if !first.is_ascii_digit() || (first == b'0' && second.is_some_and(|b| b.is_ascii_digit())) || text.len() > 40 {
        return None;
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        return text
            .parse::<i64>()
            .map(Number::from)
            .or_else(|_| text.parse::<u64>().map(Number::from))
            .ok();
    }
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Number(number)) => Some(number),
        _ => None,
    }
}

impl Node {
    /// The node as JSON; what was already reported is null.
    pub(crate) fn json(&self) -> Value {
        match &self.kind {
            Kind::Invalid => Value::Null,
            Kind::Scalar(scalar) => scalar.value(),
            Kind::Sequence(items) => Value::Array(items.iter().map(Self::json).collect()),
            Kind::Mapping(entries) => {
                let fields = entries.iter().map(|e| (e.key.clone(), e.value.json()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    /// What it is, for messages.
    pub(crate) fn described(&self) -> &'static str {
        match &self.kind {
            Kind::Invalid => "an unusable value",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
            Kind::Scalar(scalar) => match scalar.value() {
                Value::Null => "nothing",
                Value::Bool(_) => "a boolean",
                Value::Number(n) if n.is_f64() => "a number",
                Value::Number(_) => "an integer",
                _ => "text",
            },
        }
    }

    /// True for an absent value (`key:`) and for `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(s) if s.value().is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Value {
        Scalar {
            text: text.into(),
            plain: true,
            written: None,
        }
        .value()
    }

    #[test]
    fn plain_scalars_have_types() {
        assert_eq!(plain("~"), Value::Null);
        assert_eq!(plain("True"), Value::Bool(true));
        assert_eq!(plain("-12"), serde_json::json!(-12));
        assert_eq!(plain("1.5e3"), serde_json::json!(1500.0));
        assert_eq!(plain("18446744073709551615"), serde_json::json!(u64::MAX));
    }

    #[test]
    fn codes_stay_text() {
        for code in [
            "007",
            "0x1F",
            "+5",
            "1_000",
            "1.",
            ".5",
            "-",
            "1e",
            "18446744073709551616",
            "yes",
            "2026-04-20",
        ] {
            assert_eq!(plain(code), Value::String(code.into()), "{code}");
        }
    }
}
