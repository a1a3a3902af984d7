//! The spellings of hospitals: one spelling of characters first, then the table, then UCUM itself.

use super::{capitals, power, product, ucum};
use crate::{MappingTable, PluginError, RowState, han::simplified};
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// A unit as it was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The UCUM code, in the form that is printed.
    pub code: String,
    /// The line of the table that says so; UCUM itself without one.
    pub line: Option<u32>,
}

/// A table of spellings; the default one is empty.
#[derive(Debug, Default)]
pub struct Spellings {
    exact: HashMap<String, Known>,
    /// Without case, where that leaves one meaning.
    loose: HashMap<String, Option<Known>>,
}

impl Spellings {
    /// Indexes a table by `source_name`.
    ///
    /// # Errors
    /// With file and line: a missing column, a spelling that stands twice, a status that is unknown, a target that is
    /// no UCUM code.
    pub fn new(table: &MappingTable) -> Result<Self, PluginError> {
        let (name, code) = (table.require("source_name")?, table.require("target_code")?);
        let status = table.require("status")?;
        for other in ["target_system", "origin", "licence", "note"] {
            table.require(other)?;
        }
        let mut local = Self::default();
        let mut lines: HashMap<String, u32> = HashMap::new();
        let mut products: Vec<(String, Known)> = Vec::new();
        for row in &table.rows {
            let wrong = |what: String| table.error(row.line, what);
            if table.state(row, status)? != RowState::Accepted {
                continue;
            }
            let (spelling, target) = (fold(row.cell(name)), row.cell(code));
            if spelling.is_empty() {
                return Err(wrong("an accepted row needs source_name".into()));
            }
            if let Some(line) = lines.insert(spelling.clone(), row.line) {
                return Err(wrong(format!("{:?} stands in line {line} already", row.cell(name))));
            }
            ucum::validate(target).map_err(|why| wrong(format!("{target:?} is no UCUM code: {why}")))?;
            let known = Known {
                code: ucum::printed(target),
                line: Some(row.line),
            };
            local.add_loose(&spelling, &known);
            let fraction = divided(row.cell(name));
            if fraction != spelling {
                products.push((fraction, known.clone()));
            }
            local.exact.insert(spelling, known);
        }
        // A row that is a product holds for the fraction, where no row of its own does.
        for (fraction, known) in products {
            if !local.exact.contains_key(&fraction) {
                local.add_loose(&fraction, &known);
                local.exact.insert(fraction, known);
            }
        }
        Ok(local)
    }

    fn add_loose(&mut self, spelling: &str, known: &Known) {
        self.loose
            .entry(spelling.to_lowercase())
            .and_modify(|other| {
                if other.as_ref().is_some_and(|other| other.code != known.code) {
                    *other = None;
                }
            })
            .or_insert_with(|| Some(known.clone()));
    }

    /// Understands a unit: the table as written, UCUM, the table without differences of case, UCUM's case-insensitive
    /// codes. A code that no laboratory means, such as `MG/L` for megagauss per litre, is not taken as written. What is
    /// written as a product, `mmol L-1`, means what the fraction does.
    pub fn find(&self, text: &str) -> Option<Known> {
        if let Some(known) = self.exact.get(&fold(text)) {
            return Some(known.clone());
        }
        let spelling = divided(text);
        let written = ucum::unit(text.trim()).is_ok();
        self.folded(&spelling, written)
            .or_else(|| self.folded(&per_hours(&spelling)?, written))
    }

    /// Understands one spelling of a text, which may be a UCUM code as it was `written`.
    fn folded(&self, spelling: &str, written: bool) -> Option<Known> {
        if let Some(known) = self.exact.get(spelling) {
            return Some(known.clone());
        }
        if divides_twice(spelling) || has_stray_number(spelling) || power::is_annotated_by_number(spelling) {
            return None;
        }
        // What the table does not know, UCUM would multiply.
        let multiplied = has_decimals(spelling, written) || (!written && multiplies_below(spelling));
        let valid = ucum::unit(spelling).is_ok() && !spelling.is_empty() && !multiplied;
        let unlikely = valid && capitals::unlikely(spelling);
        let of_ucum = |code: &str| Known {
            code: ucum::printed(code),
            line: None,
        };
        if valid && !unlikely {
            return Some(of_ucum(spelling));
        }
        if capitals::molar_or_metre(spelling) {
            return None;
        }
        if let Some(known) = self.loose.get(&spelling.to_lowercase()) {
            return known.clone();
        }
        if multiplied {
            return None;
        }
        // Capitals that stray into a concentration: Umol/L. A Cal is a thousand cal.
        let stray = spelling.contains('/') && !spelling.contains("Cal");
        let capitals = unlikely || stray || !spelling.contains(|c: char| c.is_ascii_lowercase());
        let code = capitals.then(|| capitals::read(spelling)).flatten();
        code.map(|code| of_ucum(&code))
    }
}

/// Whether a point stands between digits, outside of annotations. UCUM would multiply (section 2.1, paragraph 2: there are no
/// decimals), who writes `mL/min/1.73` or `10.9/L` does not. Of a code as it is `written`, `173.10*-2` is a product.
fn has_decimals(spelling: &str, written: bool) -> bool {
    let mut depth = 0;
    let bytes = spelling.as_bytes();
    bytes.iter().enumerate().any(|(at, byte)| {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let times_ten = || written && bytes.get(at + 1..).is_some_and(|behind| behind.starts_with(b"10*"));
        *byte == b'.' && depth == 0 && at > 0 && digit(at - 1) && digit(at + 1) && !times_ten()
    })
}

/// Whether a unit is multiplied behind a solidus, outside of brackets: `ug/kg.min`. UCUM takes the minutes for above the line,
/// from the left to the right; who writes `μg/kg·min` means below.
fn multiplies_below(spelling: &str) -> bool {
    let (mut depth, mut below) = (0usize, false);
    spelling.chars().any(|c| {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => below = true,
            _ => {}
        }
        c == '.' && depth == 0 && below
    })
}

/// Whether a unit is divided by a negative power: `U/L-1`. UCUM would multiply by litres, who writes it means to divide, or
/// copied half of it: only a row of the table may say which.
fn divides_twice(spelling: &str) -> bool {
    let negative = |unit: &str| {
        let unit = unit.split('{').next().unwrap_or_default();
        let power = unit.trim_end_matches(|c: char| c.is_ascii_digit());
        let of_unit = |unit: &str| unit.ends_with(|c: char| c.is_alphabetic() || c == ']');
        power.len() < unit.len() && power.strip_suffix('-').is_some_and(of_unit)
    };
    spelling.split('/').skip(1).any(|under| match under.strip_prefix('(') {
        Some(inner) => inner.split(')').take(1).any(|inner| inner.split('.').any(negative)),
        None => under.split('.').take(1).any(negative),
    })
}

/// Codes that are often written otherwise.
const USUAL: [&str; 18] = [
    "umol/L", "mmol/L", "nmol/L", "pmol/L", "mg/dL", "g/L", "mg/L", "ug/L", "ng/mL", "pg/mL", "[iU]/mL", "[iU]/L",
    "m[iU]/L", "mm[Hg]", "kPa", "10*9/L", "10*12/L", "mL/min",
];

/// The usual code that has the letters and digits of a text, to ask whether it is meant: `mm[Hg]` for `mmHg`.
pub fn meant(text: &str) -> Option<&'static str> {
    let letters = |code: &str| -> String {
        let written = code.chars().filter(|c| c.is_alphanumeric());
        written.map(|c| c.to_ascii_lowercase()).collect()
    };
    let wanted = letters(&fold(text));
    USUAL.into_iter().find(|code| letters(code) == wanted)
}

/// One spelling of characters: NFKC (Unicode Standard Annex 15; full width, ㎎, both micro signs), simplified characters,
/// `u` for micro, no white space, powers of ten as `10*9`, other superscripts as digits. White space between digits stays, so that they make
/// no other number, unless it stands for the sign of a power: `10 9/L`.
pub fn fold(text: &str) -> String {
    powers(&unspaced(&characters(text)))
}

/// A unit in [one spelling](fold), `G L-1` as `G/L`: what a table says of the one holds for the other.
pub fn divided(text: &str) -> String {
    powers(&unspaced(&product::over(&characters(text))))
}

/// One kind of each character; white space stays.
fn characters(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut raised = false;
    for c in text.chars() {
        let digit = match c {
            '⁰' => '0',
            '¹' => '1',
            '²' => '2',
            '³' => '3',
            '⁴'..='⁹' => char::from_u32(u32::from(c) - 0x2070 + u32::from('0')).unwrap_or(c),
            // Macrons are drawn as the superscript minus that a font lacks; NFKC would make a blank of the second.
            '⁻' | 'ˉ' | '¯' => '-',
            // NFKC would make one number of 10⁹.
            _ => {
                // Of 10⁶24h⁻¹ the 24 are no power.
                if raised && c.is_ascii_digit() {
                    plain.push(' ');
                }
                raised = false;
                plain.push(c);
                continue;
            }
        };
        if !raised && plain.ends_with("10") {
            plain.push('^');
        }
        raised = true;
        plain.push(digit);
    }
    let plain: String = plain.nfkc().collect();
    let plain: String = plain
        .char_indices()
        .filter(|(_, c)| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'))
        .map(|(at, c)| match c {
            // μ/L says no unit, and is no u/L.
            'μ' if !before_unit(plain.get(at + c.len_utf8()..)) => c,
            'μ' => 'u',
            '×' | '✕' | '╳' => 'x',
            '∕' | '⁄' | '÷' => '/',
            '−' | '‐'..='―' => '-',
            '·' | '•' | '⋅' | '∙' | '‧' | '・' => '.',
            '∗' => '*',
            c => simplified(c),
        })
        .collect();
    power::raised(&plain)
}

/// Whether a unit begins behind a prefix: in `μ L-1` one that divides does.
fn before_unit(behind: Option<&str>) -> bool {
    let behind = behind.unwrap_or_default();
    let unit = behind.trim_start();
    let sign = |c: char| matches!(c, '-' | '−' | '‐'..='―' | '^');
    let end = unit.find(|c: char| !c.is_alphabetic()).unwrap_or(unit.len());
    let divides = unit.len() < behind.len() && unit.get(end..).is_some_and(|rest| rest.trim_start().starts_with(sign));
    !divides && unit.starts_with(|c: char| c.is_alphabetic() || c == '[')
}

/// `mmol/24h` as `mmol/(24.h)`: it is the 24 hours that are below the line.
fn per_hours(spelling: &str) -> Option<String> {
    let (above, hours) = spelling.strip_suffix('h')?.rsplit_once('/')?;
    let number = !hours.is_empty() && hours.bytes().all(|byte| byte.is_ascii_digit());
    number.then(|| format!("{above}/({hours}.h)"))
}

/// A text without white space, except between digits.
fn unspaced(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        plain.push_str(word);
        let number = |c: char| c.is_ascii_digit();
        if plain.ends_with(number) && words.peek().is_some_and(|next| next.starts_with(number)) {
            let power = plain.trim_start_matches(['x', 'X', '×', '*', '/']) == "10";
            plain.push(if power { '^' } else { ' ' });
        }
    }
    plain
}

/// Exponents of counts whose superscript was lost in `109/L`.
const LOST: [&str; 11] = ["2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

/// A power of ten beyond this is several numbers: 10³ and 24 of `10^324 h-1`.
const MAX_POWER: u32 = 24;

/// Whether a code holds a number that nothing is counted by: what is left of a power whose superscript was lost (`U/109`,
/// `109.L`), a power of a unit that was a number (`mmol 24`), or a power of ten that has taken in another number.
fn has_stray_number(spelling: &str) -> bool {
    let mut depth = 0usize;
    let outside: String = spelling
        .chars()
        .filter(|c| {
            depth += usize::from(matches!(c, '{' | '['));
            let inside = depth > 0;
            depth = depth.saturating_sub(usize::from(matches!(c, '}' | ']')));
            !inside
        })
        .collect();
    outside.split(['.', '/', '(', ')']).any(|unit| {
        let letters = unit.trim_end_matches(|c: char| c.is_ascii_digit());
        let power = unit.len() > letters.len() + 1 && letters.trim_end_matches('-').ends_with(char::is_alphabetic);
        let digits = |power: &str| !power.is_empty() && power.bytes().all(|byte| byte.is_ascii_digit());
        // 10612/h; 1000/uL are thousands.
        let lost = |power: &str| digits(power) && power.contains(|c| c != '0');
        let large = |power: &str| digits(power) && power.parse::<u32>().map_or(true, |power| power > MAX_POWER);
        let ten = unit.strip_prefix("10*").or_else(|| unit.strip_prefix("10^"));
        let ten = ten.map(|power| power.trim_start_matches(['-', '+']));
        power || ten.is_some_and(large) || unit.strip_prefix("10").is_some_and(lost)
    })
}

/// `x10^9/L`, `*10^9/L`, `10E9/L`, `10^9/L`, and `109/L` as `10*9/L`: nothing is counted per 109 litres.
fn powers(text: &str) -> String {
    // 1E9/L
    let once = text.strip_prefix("1e").or_else(|| text.strip_prefix("1E"));
    if let Some(power) = once.filter(|power| power.trim_start_matches('+').starts_with(|c: char| c.is_ascii_digit())) {
        return powers(&format!("10^{power}"));
    }
    let bare = text.trim_start_matches(['x', 'X', '*', '.']);
    // 1x10^9/L
    let once = bare
        .strip_prefix('1')
        .and_then(|rest| rest.strip_prefix(['x', 'X', '*']));
    let bare = once.filter(|rest| rest.starts_with("10")).unwrap_or(bare);
    let Some(rest) = bare.strip_prefix("10") else {
        return text.to_owned();
    };
    // 10(3)/mcL
    if let Some((power, unit)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'))
        && LOST.contains(&power)
    {
        return format!("10*{power}{unit}");
    }
    if let Some((power, _)) = rest.split_once('/')
        && LOST.contains(&power)
    {
        return format!("10*{rest}");
    }
    match rest
        .strip_prefix("**")
        .or_else(|| rest.strip_prefix(['^', 'e', 'E', '*', '\'', '~']))
    {
        Some(power)
            if power
                .trim_start_matches(['-', '+'])
                .starts_with(|c: char| c.is_ascii_digit()) =>
        {
            // 10e09/L and 10E+09/L
            let power = power.trim_start_matches('+');
            let (sign, power) = power.strip_prefix('-').map_or(("", power), |power| ("-", power));
            let digits = power.trim_start_matches('0');
            match digits.starts_with(|c: char| c.is_ascii_digit()) {
                true => format!("10*{sign}{digits}"),
                false => format!("10*{sign}{power}"),
            }
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod forms;

#[cfg(test)]
mod powers;

#[cfg(test)]
mod tests;
