//! Schemas across the boundary: the Arrow C Data Interface's format strings, both ways.
//!
//! Views, dictionaries, unions and run ends are not carried: they are cast to plain types before.

use super::abi::{ARROW_FLAG_MAP_KEYS_SORTED, ARROW_FLAG_NULLABLE, ArrowSchema};
use crate::{PluginError, Status};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, TimeUnit};
use std::{
    ffi::{CStr, CString, c_char},
    sync::Arc,
};

/// How deep types may nest.
const DEEPEST: usize = 16;
/// How many columns a struct may have, and bytes a format or name.
const WIDEST: usize = 1 << 16;
/// How many columns a schema may have at all its levels: children may be shared, and each is read wherever it stands.
const MOST_FIELDS: usize = 1 << 16;
/// How many bytes its formats and names may have.
const MOST_TEXT: usize = 16 << 20;

/// What is left of a schema that is read.
struct Left {
    fields: usize,
    text: usize,
}

/// Takes from what is left.
fn spend(left: &mut usize, n: usize) -> Result<(), PluginError> {
    *left = left
        .checked_sub(n)
        .ok_or_else(|| bad("has too many columns, or too long names"))?;
    Ok(())
}

struct Owned {
    format: CString,
    name: CString,
    children: Vec<*mut ArrowSchema>,
}

/// A schema as a struct of its columns, owned by who gets it.
///
/// # Errors
/// `ABI_TYPE` for a type that does not cross the boundary.
pub fn export(schema: &Schema) -> Result<ArrowSchema, PluginError> {
    let mut children = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        match of_field(field) {
            Ok(child) => children.push(child),
            Err(error) => {
                children.into_iter().for_each(free_child);
                return Err(error);
            }
        }
    }
    Ok(build("+s".into(), "", 0, children))
}

fn of_field(field: &Field) -> Result<ArrowSchema, PluginError> {
    let (format, nested): (String, &[FieldRef]) = match field.data_type() {
        DataType::List(item) => ("+l".into(), std::slice::from_ref(item)),
        DataType::LargeList(item) => ("+L".into(), std::slice::from_ref(item)),
        DataType::FixedSizeList(item, n) => (format!("+w:{n}"), std::slice::from_ref(item)),
        DataType::Map(entries, _) => ("+m".into(), std::slice::from_ref(entries)),
        DataType::Struct(fields) => ("+s".into(), fields.as_ref()),
        plain => (format_of(plain)?, &[]),
    };
    let mut children = Vec::new();
    for field in nested {
        match of_field(field) {
            Ok(child) => children.push(child),
            Err(error) => {
                children.into_iter().for_each(free_child);
                return Err(error);
            }
        }
    }
    let mut flags = if field.is_nullable() { ARROW_FLAG_NULLABLE } else { 0 };
    if matches!(field.data_type(), DataType::Map(_, true)) {
        flags |= ARROW_FLAG_MAP_KEYS_SORTED;
    }
    Ok(build(format, field.name(), flags, children))
}

fn free_child(mut child: ArrowSchema) {
    if let Some(release) = child.release {
        // SAFETY: made by `build` and not handed out.
        unsafe { release(&raw mut child) };
    }
}

fn build(format: String, name: &str, flags: i64, children: Vec<ArrowSchema>) -> ArrowSchema {
    // A name with a NUL cannot cross; what stands before it does.
    let text = |t: &str| CString::new(t.split('\0').next().unwrap_or_default()).unwrap_or_default();
    let children: Vec<*mut ArrowSchema> = children.into_iter().map(|c| Box::into_raw(Box::new(c))).collect();
    let mut owned = Box::new(Owned {
        format: text(&format),
        name: text(name),
        children,
    });
    ArrowSchema {
        format: owned.format.as_ptr(),
        name: owned.name.as_ptr(),
        flags,
        n_children: i64::try_from(owned.children.len()).unwrap_or(i64::MAX),
        children: owned.children.as_mut_ptr(),
        release: Some(release),
        private_data: Box::into_raw(owned).cast(),
        ..ArrowSchema::EMPTY
    }
}

unsafe extern "C-unwind" fn release(schema: *mut ArrowSchema) {
    // SAFETY: the caller passes a schema of `build`, once; children that were moved away have no release any more.
    unsafe {
        let owned = Box::from_raw((*schema).private_data.cast::<Owned>());
        for child in &owned.children {
            let mut child = Box::from_raw(*child);
            if let Some(release) = child.release {
                release(&raw mut *child);
            }
        }
        (*schema).release = None;
        (*schema).private_data = std::ptr::null_mut();
    }
}

fn unit(unit: TimeUnit) -> char {
    match unit {
        TimeUnit::Second => 's',
        TimeUnit::Millisecond => 'm',
        TimeUnit::Microsecond => 'u',
        TimeUnit::Nanosecond => 'n',
    }
}

fn format_of(data_type: &DataType) -> Result<String, PluginError> {
    Ok(match data_type {
        DataType::Null => "n".into(),
        DataType::Boolean => "b".into(),
        DataType::Int8 => "c".into(),
        DataType::UInt8 => "C".into(),
        DataType::Int16 => "s".into(),
        DataType::UInt16 => "S".into(),
        DataType::Int32 => "i".into(),
        DataType::UInt32 => "I".into(),
        DataType::Int64 => "l".into(),
        DataType::UInt64 => "L".into(),
        DataType::Float16 => "e".into(),
        DataType::Float32 => "f".into(),
        DataType::Float64 => "g".into(),
        DataType::Binary => "z".into(),
        DataType::LargeBinary => "Z".into(),
        DataType::Utf8 => "u".into(),
        DataType::LargeUtf8 => "U".into(),
        DataType::FixedSizeBinary(n) => format!("w:{n}"),
        DataType::Decimal128(p, s) => format!("d:{p},{s}"),
        DataType::Decimal256(p, s) => format!("d:{p},{s},256"),
        DataType::Date32 => "tdD".into(),
        DataType::Date64 => "tdm".into(),
        DataType::Time32(u) | DataType::Time64(u) => format!("tt{}", unit(*u)),
        DataType::Timestamp(u, zone) => format!("ts{}:{}", unit(*u), zone.as_deref().unwrap_or_default()),
        DataType::Duration(u) => format!("tD{}", unit(*u)),
        DataType::Interval(IntervalUnit::YearMonth) => "tiM".into(),
        DataType::Interval(IntervalUnit::DayTime) => "tiD".into(),
        DataType::Interval(IntervalUnit::MonthDayNano) => "tin".into(),
        other => {
            let message = format!("the type {other} does not cross the plugin boundary");
            return Err(PluginError::new(Status::Unsupported, "ABI_TYPE", message));
        }
    })
}

fn bad(what: &str) -> PluginError {
    PluginError::new(Status::Internal, "ABI_SCHEMA", format!("a schema of the plugin {what}"))
}

/// Reads a schema that stays its owner's.
///
/// # Errors
/// `ABI_SCHEMA` when it is not one.
///
/// # Safety
/// `schema` is null, or points to a schema whose pointers are good where they are not null.
pub unsafe fn read(schema: *const ArrowSchema) -> Result<Schema, PluginError> {
    let mut left = Left {
        fields: MOST_FIELDS,
        text: MOST_TEXT,
    };
    // SAFETY: by this function's contract.
    match unsafe { read_field(schema, 0, &mut left) }?.data_type() {
        DataType::Struct(fields) => Ok(Schema::new(fields.clone())),
        _ => Err(bad("is not a struct")),
    }
}

/// Whether what a plugin promises can be a table's: names of columns, at every level, hold no control character, and
/// zones of times are ones that are known.
///
/// # Errors
/// `ABI_SCHEMA`, with what cannot.
pub fn promised(fields: &Fields) -> Result<(), PluginError> {
    for field in fields {
        if field.name().chars().any(char::is_control) {
            let what = format!("the column name {:?} holds a control character", field.name());
            return Err(PluginError::new(Status::Internal, "ABI_SCHEMA", what));
        }
        match field.data_type() {
            DataType::Timestamp(_, Some(zone)) if !is_zone(zone) => {
                let what = format!("the time zone {zone:?} of the column {:?} is unknown", field.name());
                return Err(PluginError::new(Status::Internal, "ABI_SCHEMA", what));
            }
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::Map(item, _) => promised(&Fields::from(vec![item.clone()]))?,
            DataType::Struct(fields) => promised(fields)?,
            _ => {}
        }
    }
    Ok(())
}

/// A name of the time-zone database, or `+08:00`, as the Arrow specification has them.
fn is_zone(zone: &str) -> bool {
    let is_offset = || {
        let [sign, h1, h2, b':', m1, m2] = zone.as_bytes() else {
            return false;
        };
        let number = |a: &u8, b: &u8| (a.is_ascii_digit() && b.is_ascii_digit()).then(|| (a - b'0') * 10 + (b - b'0'));
        matches!(sign, b'+' | b'-')
            && number(h1, h2).is_some_and(|hours| hours < 24)
            && number(m1, m2).is_some_and(|minutes| minutes < 60)
    };
    is_offset() || jiff::tz::TimeZone::get(zone).is_ok()
}

/// Reads a schema and releases it.
///
/// # Errors
/// `ABI_SCHEMA` when it is not one.
///
/// # Safety
/// As [`read`]; it is released once, here.
pub unsafe fn take(mut schema: ArrowSchema) -> Result<Schema, PluginError> {
    // SAFETY: by this function's contract.
    let read = unsafe { read(&raw const schema) };
    if let Some(release) = schema.release {
        // SAFETY: as above.
        unsafe { release(&raw mut schema) };
    }
    read
}

unsafe fn text<'a>(ptr: *const c_char) -> Result<&'a str, PluginError> {
    if ptr.is_null() {
        return Ok("");
    }
    // SAFETY: the Arrow specification says: null or NUL-terminated.
    let text = unsafe { CStr::from_ptr(ptr) };
    let text = text.to_str().map_err(|_| bad("has a name that is not UTF-8"))?;
    (text.len() <= WIDEST)
        .then_some(text)
        .ok_or_else(|| bad("has a name that is too long"))
}

unsafe fn read_field(schema: *const ArrowSchema, depth: usize, left: &mut Left) -> Result<Field, PluginError> {
    if schema.is_null() {
        return Err(bad("is NULL"));
    }
    if depth > DEEPEST {
        return Err(bad("nests too deeply"));
    }
    // SAFETY: not null, and good by the callers' contract.
    let schema = unsafe { &*schema };
    if schema.release.is_none() {
        return Err(bad("was released already"));
    }
    if schema.format.is_null() {
        return Err(bad("has no format"));
    }
    if !schema.dictionary.is_null() {
        return Err(bad("has a dictionary"));
    }
    // SAFETY: as above.
    let (format, name) = unsafe { (text(schema.format)?, text(schema.name)?) };
    let count = usize::try_from(schema.n_children).unwrap_or(usize::MAX);
    if count > WIDEST || (count > 0 && schema.children.is_null()) {
        return Err(bad("has a wrong number of children"));
    }
    spend(&mut left.fields, count)?;
    spend(&mut left.text, format.len() + name.len())?;
    let mut children = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: `children` holds `count` pointers.
        children.push(Arc::new(unsafe {
            read_field(*schema.children.add(index), depth + 1, left)
        }?));
    }
    let sorted = schema.flags & ARROW_FLAG_MAP_KEYS_SORTED != 0;
    let data_type = type_of(format, children, sorted)?;
    Ok(Field::new(name, data_type, schema.flags & ARROW_FLAG_NULLABLE != 0))
}

fn type_of(format: &str, mut children: Vec<FieldRef>, sorted: bool) -> Result<DataType, PluginError> {
    if format == "+s" {
        return Ok(DataType::Struct(children.into()));
    }
    if let Some(nested) = format.strip_prefix('+') {
        let child = match (children.pop(), children.pop()) {
            (Some(only), None) => only,
            _ => return Err(bad("has a list without its one item type")),
        };
        return match nested {
            "l" => Ok(DataType::List(child)),
            "L" => Ok(DataType::LargeList(child)),
            "m" => match child.data_type() {
                DataType::Struct(entries) if entries.len() == 2 => Ok(DataType::Map(child, sorted)),
                _ => Err(bad("has a map without keys and values")),
            },
            _ => match nested.strip_prefix("w:").and_then(|n| n.parse().ok()) {
                Some(n) if n >= 0 => Ok(DataType::FixedSizeList(child, n)),
                _ => Err(bad("has a type that does not cross the boundary")),
            },
        };
    }
    if !children.is_empty() {
        return Err(bad("has children where its type has none"));
    }
    plain(format).ok_or_else(|| bad("has a type that does not cross the boundary"))
}

fn plain(format: &str) -> Option<DataType> {
    let time_unit = |c: &str| {
        Some(match c {
            "s" => TimeUnit::Second,
            "m" => TimeUnit::Millisecond,
            "u" => TimeUnit::Microsecond,
            "n" => TimeUnit::Nanosecond,
            _ => return None,
        })
    };
    Some(match format {
        "n" => DataType::Null,
        "b" => DataType::Boolean,
        "c" => DataType::Int8,
        "C" => DataType::UInt8,
        "s" => DataType::Int16,
        "S" => DataType::UInt16,
        "i" => DataType::Int32,
        "I" => DataType::UInt32,
        "l" => DataType::Int64,
        "L" => DataType::UInt64,
        "e" => DataType::Float16,
        "f" => DataType::Float32,
        "g" => DataType::Float64,
        "z" => DataType::Binary,
        "Z" => DataType::LargeBinary,
        "u" => DataType::Utf8,
        "U" => DataType::LargeUtf8,
        "tdD" => DataType::Date32,
        "tdm" => DataType::Date64,
        "tts" => DataType::Time32(TimeUnit::Second),
        "ttm" => DataType::Time32(TimeUnit::Millisecond),
        "ttu" => DataType::Time64(TimeUnit::Microsecond),
        "ttn" => DataType::Time64(TimeUnit::Nanosecond),
        "tiM" => DataType::Interval(IntervalUnit::YearMonth),
        "tiD" => DataType::Interval(IntervalUnit::DayTime),
        "tin" => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => {
            if let Some(n) = format.strip_prefix("w:") {
                return n.parse().ok().filter(|n| *n >= 0).map(DataType::FixedSizeBinary);
            }
            if let Some(numbers) = format.strip_prefix("d:") {
                let parts: Vec<&str> = numbers.split(',').collect();
                let fits = |p: u8, s: i8| i16::from(s) <= i16::from(p);
                return match parts.as_slice() {
                    [p, s] | [p, s, "128"] => {
                        let (p, s) = (p.parse().ok()?, s.parse().ok()?);
                        (1..=38).contains(&p).then_some(())?;
                        fits(p, s).then_some(DataType::Decimal128(p, s))
                    }
                    [p, s, "256"] => {
                        let (p, s) = (p.parse().ok()?, s.parse().ok()?);
                        (1..=76).contains(&p).then_some(())?;
                        fits(p, s).then_some(DataType::Decimal256(p, s))
                    }
                    _ => None,
                };
            }
            if let Some(u) = format.strip_prefix("tD") {
                return time_unit(u).map(DataType::Duration);
            }
            let (u, zone) = format.strip_prefix("ts")?.split_once(':')?;
            DataType::Timestamp(time_unit(u)?, (!zone.is_empty()).then(|| zone.into()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_back() {
        let item = |t| Arc::new(Field::new("item", t, true));
        let types = [
            DataType::Null,
            DataType::Boolean,
            DataType::UInt16,
            DataType::Utf8,
            DataType::LargeBinary,
            DataType::Decimal128(20, -2),
            DataType::Decimal256(60, 4),
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(TimeUnit::Nanosecond, Some("Asia/Shanghai".into())),
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Duration(TimeUnit::Second),
            DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::List(item(DataType::UInt64)),
            DataType::FixedSizeList(item(DataType::Float16), 3),
            DataType::Struct(vec![item(DataType::Date32), item(DataType::LargeUtf8)].into()),
        ];
        let fields: Vec<Field> = types
            .into_iter()
            .enumerate()
            .map(|(n, t)| Field::new(format!("列{n}"), t, n % 2 == 0))
            .collect();
        let schema = Schema::new(fields);
        let exported = export(&schema).unwrap();
        // SAFETY: just exported.
        assert_eq!(unsafe { take(exported) }.unwrap(), schema);
    }

    #[test]
    fn what_no_table_can_have_is_not_promised() {
        let of = |name: &str, t: DataType| Fields::from(vec![Field::new(name, t, true)]);
        let zone = |zone: &str| of("at", DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())));
        for good in ["Asia/Shanghai", "UTC", "+08:00", "-03:30"] {
            assert_eq!(promised(&zone(good)), Ok(()), "{good}");
        }
        for bad in ["Not/AZone\u{1b}[31m", "Mars/Base", "+8", "+24:00", "08:00", "+aa:00"] {
            let error = promised(&zone(bad)).unwrap_err();
            assert_eq!(error.code, "ABI_SCHEMA", "{bad}");
            assert!(!error.message.contains('\u{1b}'), "{error}");
        }
        let nested = of("a", DataType::Struct(of("b\u{7}", DataType::Utf8)));
        let list = DataType::List(Arc::new(Field::new("item", DataType::Struct(nested), true)));
        assert_eq!(promised(&of("列", DataType::Utf8)), Ok(()));
        assert!(promised(&of("c", list)).unwrap_err().message.contains("\"b\\u{7}\""));
    }

    #[test]
    fn what_does_not_cross_is_refused() {
        let view = Schema::new(vec![
            Field::new("a", DataType::Utf8, true),
            Field::new("v", DataType::Utf8View, true),
        ]);
        assert_eq!(export(&view).unwrap_err().code, "ABI_TYPE");
        for format in [
            "",
            "x",
            "+",
            "+l",
            "w:-1",
            "d:0,0",
            "d:39,0",
            "d:5,6",
            "d:10,3,7",
            "ts",
            "tsx:",
            "vu",
            "w:9999999999",
        ] {
            assert!(type_of(format, Vec::new(), false).is_err(), "{format}");
        }
        // SAFETY: null is allowed.
        assert_eq!(unsafe { read(std::ptr::null()) }.unwrap_err().code, "ABI_SCHEMA");
    }
}
