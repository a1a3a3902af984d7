//! Which JSON values are equal, and how numbers compare: `1` and `1.0` are one number, and none is rounded.

use serde_json::{Number, Value};
use std::{cmp::Ordering, collections::BTreeMap};

/// Beyond it no integer of an option or a schema lies.
const FAR: f64 = 1e30;

/// The number as an integer, where it is one.
pub fn whole(number: &Number) -> Option<i128> {
    let float = || number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < FAR);
    let integer = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    integer.or_else(|| float().map(|n| n as i128))
}

/// Whether a number is an integer, however far it lies.
pub fn is_integer(number: &Number) -> bool {
    whole(number).is_some() || number.as_f64().is_some_and(|n| n.fract() == 0.0)
}

/// How two numbers compare; `None` for none.
pub fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        (Some(a), None) => beside(a, b.as_f64()?),
        (None, Some(b)) => beside(b, a.as_f64()?).map(Ordering::reverse),
        (None, None) => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// An integer and a float that is none, or far from all.
fn beside(integer: i128, float: f64) -> Option<Ordering> {
    if float.abs() >= FAR {
        return 0.0.partial_cmp(&float);
    }
    let floor = float.floor() as i128;
    Some(if integer <= floor {
        Ordering::Less
    } else {
        Ordering::Greater
    })
}

/// Whether two values are equal.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(a, b) == Some(Ordering::Equal),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

/// A text that equal values share.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => whole(number).map_or_else(|| number.to_string(), |n| n.to_string()),
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let fields: BTreeMap<&String, String> = fields.iter().map(|(key, v)| (key, canonical(v))).collect();
            format!("{fields:?}")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_compare_without_rounding() {
        for (a, b, order) in [
            (
                json!(9007199254740993_i64),
                json!(9007199254740992.0),
                Ordering::Greater,
            ),
            (json!(u64::MAX), json!(18446744073709551616.0), Ordering::Less),
            (json!(1), json!(1.0), Ordering::Equal),
            (json!(1), json!(1.5), Ordering::Less),
            (json!(-1), json!(-1.5), Ordering::Greater),
            (json!(-0.0), json!(0), Ordering::Equal),
            (json!(1e300), json!(5), Ordering::Greater),
            (json!(0.25), json!(0.5), Ordering::Less),
        ] {
            let (Value::Number(a), Value::Number(b)) = (&a, &b) else {
                panic!()
            };
            assert_eq!(compare(a, b), Some(order), "{a} {b}");
            assert_eq!(compare(b, a), Some(order.reverse()), "{b} {a}");
        }
    }

    #[test]
    fn equal_values_share_a_text() {
        let same = [json!({ "a": [1, "1"], "b": 2.0 }), json!({ "b": 2, "a": [1.0, "1"] })];
        assert!(equal(&same[0], &same[1]));
        assert_eq!(canonical(&same[0]), canonical(&same[1]));
        for (a, b) in [
            (json!(1), json!(true)),
            (json!(1), json!("1")),
            (json!([1]), json!([1, 2])),
        ] {
            assert!(!equal(&a, &b) && canonical(&a) != canonical(&b), "{a} {b}");
        }
    }
}
