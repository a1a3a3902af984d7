//! Traditional Chinese characters as simplified ones.

use std::{collections::HashMap, sync::LazyLock};

static SIMPLIFIED: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
    let mut map = HashMap::new();
    for line in include_str!("simplified.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let mut characters = line.chars();
        while let (Some(traditional), Some(simplified)) = (characters.next(), characters.next()) {
            map.insert(traditional, simplified);
        }
    }
    map
});

/// The simplified form of a traditional character; any other character as it is.
pub fn simplified(c: char) -> char {
    match c {
        // No ideograph: most texts in Latin letters never touch the table.
        '\0'..'\u{3400}' => c,
        _ => SIMPLIFIED.get(&c).copied().unwrap_or(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_of_each_character() {
        let simple = |text: &str| text.chars().map(simplified).collect::<String>();
        assert_eq!(simple("未檢出,總膽固醇 5 mg"), "未检出,总胆固醇 5 mg");
        for (traditional, form) in SIMPLIFIED.iter() {
            assert!(traditional != form, "{traditional}");
        }
    }
}
