//! What could be a unit behind a number.

/// Han characters that units are written with.
const HAN: &str = "次分钟个毫微纳皮飞克升摩尔秒小时天日年岁单位国际米厘千卡焦帕汞柱水度万亿百视野高低倍每人拷贝";

/// Whether a text could be a unit. It is not looked up: that is for the step `units`.
pub fn is_unit(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || "%/μ°℃℉‰#㎡".contains(c) || HAN.contains(c))
        || ((text.starts_with("10^") || text.starts_with("10*")) && text.contains('/'));
    // Behind a solidus comes a name, not a number: 1/*17 is a gene's alleles.
    let named = !text.starts_with('/')
        || text
            .get(1..)
            .unwrap_or_default()
            .starts_with(|c: char| c.is_alphabetic() || "[({".contains(c));
    let fits = |c: char| c.is_ascii_alphanumeric() || "%/^*.·μ°℃℉‰㎡()[]{}_#'-".contains(c) || HAN.contains(c);
    let spaced = ["mm Hg", "cm H2O", "kg H2O", "L FEU", "L DDU", "l FEU", "l DDU"]
        .iter()
        .any(|end| text.ends_with(end));
    // Without a solidus or a power, digits are those of squares and cubes: 2C19 and 0x1F are no values.
    let powers = text.contains(['/', '^', '*', '(', '[', '{', '.'])
        || spaced
        || !text.contains(|c: char| c.is_ascii_digit())
        || ["m2", "m3", "cmH2O"].iter().any(|end| text.ends_with(end));
    if !powers || text.starts_with(['x', 'X']) {
        return false;
    }
    let short = text.contains(['/', '(', '[']) || text.chars().count() <= 10;
    text.len() <= 40 && begins && named && short && text.chars().all(|c| fits(c) || (spaced && c == ' '))
}
