//! Whether what stands right behind digits is a unit: the letter O may be a nought, and `12O` is then no 12.

use std::{collections::HashSet, sync::LazyLock};

/// How units begin that stand right behind a number, without case: their letters up to the first sign. What begins with a
/// letter that a nought, a one, a two, a five or an eight looks like (O, l, I, Z, S, B) is here where nothing else is meant.
const WORDS: &str = "\
    ag AI anti atm att aU AU APL APLU au axa bar BAU BCE beats bit BPM breaths BU Bq cal cc cd Cel Celsius cell cells CFU cg \
    cGy circ cL cm cmH COI copies copy cp cP cps cutoff day days DDU deg degC degF dB dg dL dm ds dyn dynes eq erg EU eV \
    exp fahrenheit FEU FFU fg fL fm fmol fraction gDDU GEq gf gFEU Giga gm gms gon GPL GPLU gr gram grams gtt GU Gy hour \
    hours hr hrs HU Hz inch inches index INR insp IU kat kBq kcal kDa kg kgs kIU KIU kJ km kPa ks kU kUA KU lakh lakhs lg liter liters \
    litre litres log lpm mAU MBq mbar mcg mcgDDU mcgFEU mCi mcIU mcmol mcU mcUnits meq METs mg mGy mgs mgDDU mgFEU micron mil mill million \
    millions min mins minute minutes mIU mL mls mm mmH mmHg mmo mmoI mmol mmols mo mol month months mOsm mosmol mPa mPas \
    MPL MPLU ms msec mU MU mV ng ngDDU ngFEU nkat nKat nm nIU nL nM nmol nmolBCE ns NTU oC osm pa PEI pct PEIU per percent \
    PFU pg PG pH ph pkat pL pm pmol point points ppb ppm ps psi PU rad ratio RLU RU score sec second seconds secs source \
    target TCID Tera TH thou thous thousand thousands titer titers titre torr TU ueq ug ugDDU ugFEU uIU ukat uL um umo umoI \
    umol unit units us uU uug vol week weeks wk Wood WU year years yr yrs";

static KNOWN: LazyLock<HashSet<String>> =
    LazyLock::new(|| WORDS.split_ascii_whitespace().map(str::to_ascii_lowercase).collect());

/// Single letters that are units alone, and those that are units before a solidus: `G/L`.
const ALONE: &str = "aCcdFghKkLmNnsUuV%";
const OVER: &str = "fGgKkLlMmnPpTtUu";

/// Whole units that begin like a digit: the ratio of a signal to its cut-off.
const RATIOS: [&str; 6] = ["S/CO", "S/C.O.", "S/C.O", "S/C", "S/N", "I.U./"];

/// Whether a text that [`super::unit::is_unit`] takes for one is a unit behind a digit, too: it begins as units do, and no
/// number stands at its end.
pub fn is_known(unit: &str) -> bool {
    let end = unit
        .find(|c: char| !c.is_ascii_alphabetic() && c != 'μ')
        .unwrap_or(unit.len());
    let (word, rest) = unit.split_at(end);
    let mut letters = word.chars();
    let begins = match (letters.next(), letters.next()) {
        (None, _) => true,
        (Some('μ'), _) => true,
        (Some(one), None) if rest.is_empty() => ALONE.contains(one),
        (Some(one), None) => OVER.contains(one) || ALONE.contains(one),
        _ => KNOWN.contains(&word.to_ascii_lowercase()),
    };
    let ratio = RATIOS.iter().any(|ratio| {
        unit.get(..ratio.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(ratio))
    });
    (begins || ratio) && ends(unit)
}

/// Whether the digits at the end of a unit are its own: of a power (`m2`, `min-1`, `10^9`), of `/100` and of `1.73`.
fn ends(unit: &str) -> bool {
    let before = unit.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = unit.get(before.len()..).unwrap_or_default();
    match digits {
        "" => true,
        "2" | "3" | "5" if before.ends_with('m') => true,
        "73" if before.ends_with("1.") => true,
        _ if before.ends_with(['^', '*', '-', '+']) => true,
        _ => before.ends_with('/') && digits.starts_with('1') && digits.bytes().skip(1).all(|b| b == b'0'),
    }
}

/// Whether a unit is but letters that look like digits; with a space before it nobody knows either. Seconds and
/// siemens are written so.
pub fn is_digit(unit: &str) -> bool {
    unit.bytes().all(|b| b"OoIZB".contains(&b)) && !unit.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fold::fold, unit::is_unit};
    use std::{fs, path::Path};

    /// What the shipped table knows is a unit right behind a number, too, but for what begins like a digit.
    #[test]
    fn the_shipped_spellings_stay_units() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings/units-local__ucum/map.csv");
        let table = fs::read_to_string(path).unwrap();
        let mut refused = Vec::new();
        for line in table.lines().skip(1) {
            let Some(cell) = line.split(',').nth(1) else { continue };
            let mut unit = String::new();
            fold(cell, &mut unit);
            // E9/L behind a number is its power of ten.
            let digit = unit.starts_with(['O', 'o', 'l', 'I', 'S', 'B', 'Z', 'E']);
            if is_unit(&unit) && !digit && !is_known(&unit) {
                refused.push(unit);
            }
        }
        assert!(refused.is_empty(), "{refused:?}");
    }
}
