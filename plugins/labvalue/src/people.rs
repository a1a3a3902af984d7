//! Whom a reference range is for: sexes and ages.

/// Sex, as reference ranges know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sex {
    /// 男.
    Male,
    /// 女.
    Female,
}

impl Sex {
    /// Reads a code or word: `M`, `F`, `男`, `女`, and `1`, `2` of GB/T 2261.1 and ISO/IEC 5218.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
        if is(&["M", "男", "男性", "male", "1"]) {
            Some(Self::Male)
        } else if is(&["F", "女", "女性", "female", "2"]) {
            Some(Self::Female)
        } else {
            None
        }
    }
}

/// A word, and whom it names.
pub type People = (&'static str, Option<Sex>, Option<(f64, f64)>);

const ADULT: Option<(f64, f64)> = Some((18.0, 200.0));
const CHILD: Option<(f64, f64)> = Some((0.0, 18.0));
const NEWBORN: Option<(f64, f64)> = Some((0.0, 28.0 / 365.25));
const INFANT: Option<(f64, f64)> = Some((0.0, 1.0));

/// Words that name people, without difference of case; those that begin others come after them.
const PEOPLE: [People; 37] = [
    ("男女", None, None),
    ("成年男性", Some(Sex::Male), ADULT),
    ("成年女性", Some(Sex::Female), ADULT),
    ("成人男", Some(Sex::Male), ADULT),
    ("成人女", Some(Sex::Female), ADULT),
    ("男性", Some(Sex::Male), None),
    ("女性", Some(Sex::Female), None),
    ("男", Some(Sex::Male), None),
    ("女", Some(Sex::Female), None),
    ("females", Some(Sex::Female), None),
    ("female", Some(Sex::Female), None),
    ("males", Some(Sex::Male), None),
    ("male", Some(Sex::Male), None),
    ("women", Some(Sex::Female), None),
    ("men", Some(Sex::Male), None),
    ("(f)", Some(Sex::Female), None),
    ("(m)", Some(Sex::Male), None),
    ("f:", Some(Sex::Female), None),
    ("m:", Some(Sex::Male), None),
    ("f ", Some(Sex::Female), None),
    ("m ", Some(Sex::Male), None),
    ("成年人", None, ADULT),
    ("成年", None, ADULT),
    ("成人", None, ADULT),
    ("儿童", None, CHILD),
    ("小儿", None, CHILD),
    ("新生儿", None, NEWBORN),
    ("婴儿", None, INFANT),
    ("adults", None, ADULT),
    ("adult", None, ADULT),
    ("children", None, CHILD),
    ("child", None, CHILD),
    ("newborns", None, NEWBORN),
    ("newborn", None, NEWBORN),
    ("neonates", None, NEWBORN),
    ("infants", None, INFANT),
    ("infant", None, INFANT),
];

/// `text` without `start`, whatever the case of Latin letters.
pub fn without_start<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// The people that a text begins with, and what follows. A Latin word ends where its letters do.
pub fn named(text: &str) -> Option<(&'static People, &str)> {
    PEOPLE.iter().find_map(|people| {
        let rest = without_start(text, people.0)?;
        let whole = !people.0.ends_with(|c: char| c.is_ascii_alphabetic())
            || !rest.starts_with(|c: char| c.is_ascii_alphabetic());
        whole.then_some((people, rest))
    })
}

/// `M` or `F` alone.
pub fn letter(text: &str) -> Option<Sex> {
    Sex::read(text).filter(|_| text.trim().len() == 1 && text.trim().starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Whom a range is for, as the words in front of it say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Whom {
    /// The sex.
    pub sex: Option<Sex>,
    /// Years, from and below.
    pub age: Option<(f64, f64)>,
    /// Which of the two stands first.
    pub first: Option<First>,
}

/// What a group of people is named by first; it holds for the groups behind it, until another of its kind comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// `男 成人`.
    Sex,
    /// `成人 男`.
    Age,
}

/// Takes the words for people off the front: whom they name, what is left.
pub fn people(text: &str) -> (Whom, &str) {
    let (mut sex, mut age, mut first, mut rest) = (None, None, None, text.trim());
    loop {
        let within = match rest.strip_prefix('(') {
            // (男) 57-111, but not the parenthesis of (57-111).
            Some(inner) if named(inner).is_some() || aged(inner).is_some() => inner,
            _ => rest,
        };
        let found = named(rest)
            .or_else(|| named(within))
            .map(|((_, of, years), less)| (*of, *years, less));
        let found = found.or_else(|| aged(within).map(|(years, less)| (None, Some(years), less)));
        let Some((of, years, less)) = found else {
            return (Whom { sex, age, first }, rest);
        };
        first = first.or(match (years, of) {
            (Some(_), _) => Some(First::Age),
            (None, Some(_)) => Some(First::Sex),
            (None, None) => None,
        });
        sex = sex.or(of);
        // 成人(18-60岁): both hold.
        age = match (age, years) {
            (Some((from, below)), Some((least, most))) => Some((least.max(from), most.min(below))),
            (known, more) => known.or(more),
        };
        rest = less.trim_start_matches([':', ' ', ')', ',']);
    }
}

/// Units of age, as words and in years; those that begin others come after them.
const AGES: [(&str, f64); 17] = [
    ("周岁", 1.0),
    ("岁", 1.0),
    ("years", 1.0),
    ("year", 1.0),
    ("yrs", 1.0),
    ("yr", 1.0),
    ("y", 1.0),
    ("个月", 1.0 / 12.0),
    ("月龄", 1.0 / 12.0),
    ("月", 1.0 / 12.0),
    ("months", 1.0 / 12.0),
    ("month", 1.0 / 12.0),
    ("mos", 1.0 / 12.0),
    ("mo", 1.0 / 12.0),
    ("天", 1.0 / 365.25),
    ("days", 1.0 / 365.25),
    ("day", 1.0 / 365.25),
];

/// A unit of age that a text begins with, in years, and what follows.
fn unit_of_age(text: &str) -> Option<(f64, &str)> {
    AGES.iter().find_map(|(word, years)| {
        let rest = without_start(text, word)?;
        let whole = !(word.is_ascii() && rest.starts_with(|c: char| c.is_ascii_alphabetic()));
        whole.then_some((*years, rest))
    })
}

/// What is left of an age of two units behind the first of them: `-2岁` of `6月-2岁`. Years, up to and with which.
fn until(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start().strip_prefix(['-', '~'])?.trim_start();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, rest) = text.split_at(end);
    let (years, rest) = unit_of_age(rest.trim_start())?;
    Some(((number.parse::<f64>().ok()? + 1.0) * years, rest))
}

/// Ages in front of a range: `0-3岁`, `>=60岁`, `<18 years`, `14岁以上`, `6月-2岁`.
pub fn aged(text: &str) -> Option<((f64, f64), &str)> {
    let at = text.find(|c: char| !(c.is_ascii_digit() || "<>=-~. ".contains(c)))?;
    let (before, unit) = text.split_at(at);
    let (years, after) = unit_of_age(unit)?;
    let before = before.trim();
    if before.len() > 12 {
        return None;
    }
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    if let (Some(from), Some((below, rest))) = (number(before), until(after)) {
        return (from * years < below).then_some(((from * years, below), rest));
    }
    let word = |words: [&str; 2]| words.iter().find_map(|word| after.strip_prefix(word));
    // Ages are whole: up to 14 lasts until the birthday after, more than 60 begins with 61.
    let (range, rest) = if let Some(rest) = word(["及以上", "以上"]) {
        ((number(before)?, 200.0 / years), rest)
    } else if let Some(rest) = after.strip_prefix("及以下") {
        ((0.0, number(before)? + 1.0), rest)
    } else if let Some(rest) = after.strip_prefix("以下") {
        ((0.0, number(before)?), rest)
    } else if let Some(from) = before.strip_prefix(">=") {
        ((number(from)?, 200.0 / years), after)
    } else if let Some(from) = before.strip_prefix('>') {
        ((number(from)? + 1.0, 200.0 / years), after)
    } else if let Some(to) = before.strip_prefix("<=") {
        ((0.0, number(to)? + 1.0), after)
    } else if let Some(to) = before.strip_prefix('<') {
        ((0.0, number(to)?), after)
    } else {
        let (from, to) = before.split_once(['-', '~'])?;
        ((number(from)?, number(to)? + 1.0), after)
    };
    Some(((range.0 * years, range.1 * years), rest))
}
