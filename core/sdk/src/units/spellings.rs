//! The spellings of hospitals: one spelling of characters first, then the table, then UCUM itself.

use super::{capitals, product, ucum};
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
        self.folded(&spelling).or_else(|| self.folded(&per_hours(&spelling)?))
    }

    fn folded(&self, spelling: &str) -> Option<Known> {
        if let Some(known) = self.exact.get(spelling) {
            return Some(known.clone());
        }
        if divides_twice(spelling) || has_stray_number(spelling) {
            return None;
        }
        let valid = ucum::unit(spelling).is_ok() && !spelling.is_empty() && !has_decimals(spelling);
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
        // Capitals that stray into a concentration: Umol/L. A Cal is a thousand cal.
        let stray = spelling.contains('/') && !spelling.contains("Cal");
        let capitals = unlikely || stray || !spelling.contains(|c: char| c.is_ascii_lowercase());
        let code = capitals.then(|| capitals::read(spelling)).flatten();
        code.map(|code| of_ucum(&code))
    }
}

/// Whether a point stands between digits, outside of annotations. UCUM would multiply (section 2.1, paragraph 2: there are no
/// decimals), who writes `mL/min/1.73` or `10.9/L` does not.
fn has_decimals(spelling: &str) -> bool {
    let mut depth = 0;
    let bytes = spelling.as_bytes();
    bytes.iter().enumerate().any(|(at, byte)| {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        *byte == b'.' && depth == 0 && at > 0 && digit(at - 1) && digit(at + 1)
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
    plain
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
        .collect()
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

/// Whether a code holds a number that nothing is counted by: what is left of a power whose superscript was lost (`U/109`,
/// `109.L`), or a power of a unit that was a number (`mmol 24`).
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
        power || unit.strip_prefix("10").is_some_and(|power| LOST.contains(&power))
    })
}

/// `x10^9/L`, `*10^9/L`, `10E9/L`, `10^9/L`, and `109/L` as `10*9/L`: nothing is counted per 109 litres.
fn powers(text: &str) -> String {
    let bare = text.trim_start_matches(['x', 'X', '*', '.']);
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
            // 10e09/L
            let digits = power.trim_start_matches('0');
            match digits.starts_with(|c: char| c.is_ascii_digit()) {
                true => format!("10*{digits}"),
                false => format!("10*{power}"),
            }
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod forms;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resource;
    use std::{fs, path::Path};

    /// The committed table.
    pub(super) fn shipped() -> Spellings {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings/units-local__ucum");
        let mut resource = Resource::default();
        for file in ["map.csv", "mapping.yaml"] {
            resource.files.insert(file.into(), fs::read(folder.join(file)).unwrap());
        }
        Spellings::new(&MappingTable::read("maps:x", &resource).unwrap()).unwrap()
    }

    #[test]
    fn usual_codes_that_are_meant() {
        for (text, want) in [
            ("umolL", Some("umol/L")),
            ("µmol/l", Some("umol/L")),
            ("mmHg", Some("mm[Hg]")),
            ("IU/mL", Some("[iU]/mL")),
            ("10^9/L", Some("10*9/L")),
            ("", None),
            ("furlong", None),
        ] {
            assert_eq!(meant(text), want, "{text}");
        }
    }

    #[test]
    fn one_spelling_of_characters() {
        for (text, want) in [
            ("×10⁹/L", "10*9/L"),
            ("*10^9/L", "10*9/L"),
            ("10E9/L", "10*9/L"),
            ("１０＾９／Ｌ", "10*9/L"),
            ("X10^12 / L", "10*12/L"),
            ("μmol/L", "umol/L"),
            ("次/分鐘", "次/分钟"),
            ("\u{b5}mol/L", "umol/L"),
            ("㎎/㎗", "mg/dl"),
            ("kg/m²", "kg/m2"),
            ("℃", "°C"),
            ("10⁻³", "10*-3"),
            ("x", "x"),
            ("10 9/L", "10*9/L"),
            ("×10 12 / L", "10*12/L"),
            ("10 ^9/L", "10*9/L"),
            ("x109/L", "10*9/L"),
            ("103/uL", "10*3/uL"),
            ("10**9/L", "10*9/L"),
            ("10~9/L", "10*9/L"),
            ("5 6/L", "5 6/L"),
            ("1 09/L", "1 09/L"),
            ("mg/24 h", "mg/24h"),
            ("mL/min/1.73 m²", "mL/min/1.73m2"),
            ("100/L", "100/L"),
            ("1010/L", "10*10/L"),
            ("×1011/L", "10*11/L"),
            ("10(3)/mcL", "10*3/mcL"),
            ("x10 (6)", "10*6"),
            ("10^-3/uL", "10*-3/uL"),
        ] {
            assert_eq!(fold(text), want, "{text}");
        }
        assert_eq!(fold(&fold("×10⁹/L")), fold("×10⁹/L"));
    }

    #[test]
    fn the_shipped_table_knows_what_hospitals_write() {
        let local = shipped();
        for (text, want) in [
            ("次/分", "/min"),
            ("毫摩尔/升", "mmol/L"),
            ("10^9/L", "10*9/L"),
            ("×10⁹/L", "10*9/L"),
            ("g/l", "g/L"),
            ("ug/ml", "ug/mL"),
            ("\u{b5}mol/L", "umol/L"),
            ("\u{3bc}mol/L", "umol/L"),
            ("umol/L", "umol/L"),
            ("umol/l", "umol/L"),
            ("\u{b5}mol/l", "umol/L"),
            ("\u{3bc}mol/l", "umol/L"),
            ("mmol/l", "mmol/L"),
            ("nmol/l", "nmol/L"),
            ("l/l", "L/L"),
            ("m[iU]/l", "m[IU]/L"),
            ("mmHg", "mm[Hg]"),
            ("IU/ml", "[IU]/mL"),
            ("U/L", "U/L"),
            ("℃", "Cel"),
            ("%", "%"),
            ("秒", "s"),
            ("pg/ml", "pg/mL"),
            ("个/HP", "/[HPF]"),
            ("/HPF", "/[HPF]"),
            ("fl", "fL"),
            ("mm/h", "mm/h"),
            ("MG/DL", "mg/dL"),
            ("K/uL", "10*3/uL"),
            ("mEq/L", "meq/L"),
            ("&#176;C", "Cel"),
            ("mm Hg", "mm[Hg]"),
            ("mL/min/1.73", "mL/min/{1.73_m2}"),
            ("ml/min/1.73", "mL/min/{1.73_m2}"),
            ("mL/min/{1.73_m2}", "mL/min/{1.73_m2}"),
            ("10 9/L", "10*9/L"),
            ("10 12/L", "10*12/L"),
            ("109/L", "10*9/L"),
            ("1012/L", "10*12/L"),
            ("MG/DL", "mg/dL"),
            ("MG/L", "mg/L"),
            ("MG/ML", "mg/mL"),
            ("MG", "mg"),
            ("G/DL", "g/dL"),
            ("G/L", "10*9/L"),
            ("G", "g"),
            ("UG/DL", "ug/dL"),
            ("UG/ML", "ug/mL"),
            ("NG/DL", "ng/dL"),
            ("NG/ML", "ng/mL"),
            ("NG/L", "ng/L"),
            ("PG/ML", "pg/mL"),
            ("PG", "pg"),
            ("FL", "fL"),
            ("MMOL/L", "mmol/L"),
            ("UMOL/L", "umol/L"),
            ("NMOL/L", "nmol/L"),
            ("PMOL/L", "pmol/L"),
            ("MEQ/L", "meq/L"),
            ("U/L", "U/L"),
            ("U/ML", "U/mL"),
            ("IU/L", "[IU]/L"),
            ("IU/ML", "[IU]/mL"),
            ("MIU/ML", "m[IU]/mL"),
            ("MIU/L", "m[IU]/L"),
            ("UIU/ML", "u[IU]/mL"),
            ("MU/L", "mU/L"),
            ("K/UL", "10*3/uL"),
            ("M/UL", "10*6/uL"),
            ("10E3/UL", "10*3/uL"),
            ("10E6/UL", "10*6/uL"),
            ("10E9/L", "10*9/L"),
            ("X10E3/UL", "10*3/uL"),
            ("10^3/UL", "10*3/uL"),
            ("CELLS/UL", "/uL"),
            ("/HPF", "/[HPF]"),
            ("MM/HR", "mm/h"),
            ("MM/H", "mm/h"),
            ("ML", "mL"),
            ("ML/MIN", "mL/min"),
            ("ML/MIN/1.73M2", "mL/min/{1.73_m2}"),
            ("MG/G", "mg/g"),
            ("MG/24H", "mg/(24.h)"),
            ("MMHG", "mm[Hg]"),
            ("MOSM/KG", "mosm/kg"),
            ("SEC", "s"),
            ("SECONDS", "s"),
            ("%", "%"),
            ("RATIO", "{ratio}"),
            ("PH", "{pH}"),
            ("KG/M2", "kg/m2"),
            ("CM", "cm"),
            ("KG", "kg"),
            ("AU/ML", "[arb'U]/mL"),
            ("AU/mL", "[arb'U]/mL"),
            ("RU/mL", "[arb'U]{RU}/mL"),
            ("ru/ml", "[arb'U]{RU}/mL"),
            ("T/l", "10*12/L"),
            ("t/l", "10*12/L"),
            ("t/L", "10*12/L"),
            ("S/CO", "{S_CO}"),
            ("COI", "{S_CO}"),
            ("Mg/dL", "mg/dL"),
            ("Mmol/L", "mmol/L"),
            ("mG/dL", "mg/dL"),
            ("pG/mL", "pg/mL"),
            ("ng/ML", "ng/mL"),
            ("U/Ml", "U/mL"),
            ("MU", "MU"),
            ("mM", "mmol/L"),
            ("uM", "umol/L"),
            ("mm", "mm"),
            ("1010/L", "10*10/L"),
            ("1011/L", "10*11/L"),
            ("K/mm3", "10*3/uL"),
            ("K/mm³", "10*3/uL"),
            ("k/mm^3", "10*3/uL"),
            ("M/mm3", "10*6/uL"),
            ("m/ul", "10*6/uL"),
            ("M/ul", "10*6/uL"),
            ("C", "Cel"),
            ("F", "[degF]"),
            ("°C", "Cel"),
            ("deg F", "[degF]"),
            ("mmol/mol Hb", "mmol/mol"),
            ("MBq", "MBq"),
            ("ku/l", "kU/L"),
            ("kU/L", "kU/L"),
            ("mu/l", "mU/L"),
            ("mu/ml", "mU/mL"),
            ("u/l", "U/L"),
            ("u/ml", "U/mL"),
            ("10^9·L-1", "10*9/L"),
            ("10e09/L", "10*9/L"),
            ("1000/uL", "10*3/uL"),
            ("Ｇ／Ｌ", "10*9/L"),
            ("G/l", "10*9/L"),
            ("g/l", "g/L"),
            ("mmH2O", "mm[H2O]"),
            ("PEIU/ml", "{PEI_U}/mL"),
            ("lg IU/mL", "{Log_IU}/mL"),
            ("Log10 copies/ml", "{Log_copies}/mL"),
            ("LOG IU/ML", "{Log_IU}/mL"),
            ("cells/cumm", "/uL"),
            ("/cu mm", "/uL"),
            ("lakhs/cumm", "10*5/uL"),
            ("gm%", "g/dL"),
            ("ug%", "ug/dL"),
            ("μg%", "ug/dL"),
            ("vol%", "mL/dL"),
            ("titer", "{titer}"),
            ("mmol/mmol Cr", "mmol/mmol"),
            ("mg/g·Cr", "mg/g"),
            ("μg/mgCr", "ug/mg"),
            ("mmol/24小时", "mmol/(24.h)"),
            ("L/24h", "L/(24.h)"),
            ("mL·min-1·1.73m-2", "mL/min/{1.73_m2}"),
            ("mAU/mL", "10*-3.[arb'U]/mL"),
            ("BAU/mL", "{BAU}/mL"),
            ("0/00", "[ppth]"),
            ("Wood", "mm[Hg].min/L"),
            ("mmoI/L", "mmol/L"),
            ("万U", "10*4.U"),
            ("10^3IU/mL", "10*3.[IU]/mL"),
            ("TH/uL", "10*3/uL"),
            ("th/uL", "10*3/uL"),
            ("M/CMM", "10*6/uL"),
            ("M/cmm", "10*6/uL"),
            ("k/mm cu", "10*3/uL"),
            ("m/mm cu", "10*6/uL"),
            ("MIL/CMM", "10*6/uL"),
            ("mil/mcL", "10*6/uL"),
            ("10(3)/mcL", "10*3/uL"),
            ("x10 (3)", "10*3"),
            ("giga.l-1", "10*9/L"),
            ("second(s)", "s"),
            ("mm(hg)", "mm[Hg]"),
            ("mm/hg", "mm[Hg]"),
            ("uug", "pg"),
            ("mcmol/L", "umol/L"),
            ("Umol/L", "umol/L"),
            ("uMol/L", "umol/L"),
            ("Ng/mL", "ng/mL"),
            ("mmol L-1", "mmol/L"),
            ("U L-1", "U/L"),
            ("U L⁻¹", "U/L"),
            ("m s-1", "m/s"),
            ("mmol*L^-1", "mmol/L"),
            ("mL min-1", "mL/min"),
            ("mmol L⁻¹", "mmol/L"),
            ("10^9 L-1", "10*9/L"),
            ("mm[Hg]*s", "mm[Hg].s"),
            ("RU/L", "[arb'U]{RU}/L"),
            ("RU/l", "[arb'U]{RU}/L"),
            ("G L-1", "10*9/L"),
            ("G L⁻¹", "10*9/L"),
            ("T L-1", "10*12/L"),
            ("g L-1", "g/L"),
            ("mmol 24h-1", "mmol/(24.h)"),
            ("mmol 24 h-1", "mmol/(24.h)"),
            ("mmol·24h⁻¹", "mmol/(24.h)"),
            ("mg 24 h⁻¹", "mg/(24.h)"),
            ("mL h-1", "mL/h"),
            ("mmol·L⁻¹", "mmol/L"),
            ("U·L⁻¹", "U/L"),
            ("mg·dL^-1", "mg/dL"),
            ("mL/min.kg-1", "mL/min/kg"),
            ("L-1.mmol", "mmol/L"),
            ("U/10*-3.L", "U/10*-3.L"),
            ("毫克/天", "mg/(24.h)"),
            ("克/24小时", "g/(24.h)"),
            ("mcg/hour", "ug/h"),
        ] {
            assert_eq!(
                local.find(text).map(|known| known.code).as_deref(),
                Some(want),
                "{text}"
            );
        }
        for text in [
            "",
            "no unit",
            "R",
            "mg/TV",
            "M/L",
            "CU",
            "xyz/L",
            "10?/L",
            "5 6/L",
            "M",
            "EU/ML",
            "Gm/xL",
            "MM",
            "UM",
            "NM",
            "PM",
            "Mm",
            "Eu/mL",
            "K",
            "T",
            "A",
            "P",
            "V",
            "pc",
            "st",
            "mmol/1",
            "片",
            "个",
            "lg",
            "°",
            "单位",
            "Cal",
            "KCal/kg",
            "/mic l",
            "ml/B",
            "units",
            // Per litre twice, or not at all.
            "U/L-1",
            "mg/dL-1",
            "mg/dl-1",
            "mmol/L⁻¹",
            "mmol/L^-1",
            "mmol / L-1",
            "g/l-1",
            "MG/DL-1",
            "G/L-1",
            "10^9/L-1",
            "/min-1",
            "mL/(min-1)",
            "mg/(24.h-1)",
            "mmol 24h-2",
        ] {
            assert_eq!(local.find(text), None, "{text}");
        }
        assert_eq!(Spellings::default().find("mmol/L").unwrap().line, None);
    }
}
