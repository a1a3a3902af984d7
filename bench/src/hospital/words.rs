//! The generator's word lists. They are its own: nothing of the product reads them, so that no detector or mapping
//! can have learnt them.

use std::sync::LazyLock;

/// The lists, split once.
pub struct Words {
    /// Common family names.
    pub surnames: Vec<&'static str>,
    /// Family names whose GB18030 bytes hold a delimiter of HL7 or a backslash.
    pub surnames_rare: Vec<&'static str>,
    /// First characters of given names.
    pub given_first: Vec<&'static str>,
    /// Second characters of given names.
    pub given_second: Vec<&'static str>,
    /// Characters of given names whose GB18030 bytes hold a delimiter of HL7, or that take four bytes.
    pub given_rare: Vec<&'static str>,
    /// Streets.
    pub streets: Vec<&'static str>,
    /// Province, city, district and postal code.
    pub places: Vec<[&'static str; 4]>,
    /// Doctors.
    pub doctors: Vec<&'static str>,
}

/// The lists.
pub static WORDS: LazyLock<Words> = LazyLock::new(|| Words {
    surnames: include_str!("words/surnames.txt").split_whitespace().collect(),
    surnames_rare: include_str!("words/surnames_rare.txt").split_whitespace().collect(),
    given_first: include_str!("words/given_first.txt").split_whitespace().collect(),
    given_second: include_str!("words/given_second.txt").split_whitespace().collect(),
    given_rare: include_str!("words/given_rare.txt").split_whitespace().collect(),
    streets: include_str!("words/streets.txt").split_whitespace().collect(),
    places: include_str!("words/places.txt").lines().filter_map(place).collect(),
    doctors: include_str!("words/doctors.txt").split_whitespace().collect(),
});

fn place(line: &'static str) -> Option<[&'static str; 4]> {
    let mut parts = line.split(',');
    Some([parts.next()?, parts.next()?, parts.next()?, parts.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hospital::text::Gb18030;

    #[test]
    fn lists_are_whole_and_hold_the_delimiters() {
        assert_eq!(WORDS.places.len(), 10);
        let mut gb = Gb18030::default();
        let mut bytes = Vec::new();
        let rare: String = WORDS.surnames_rare.iter().chain(&WORDS.given_rare).copied().collect();
        gb.encode(&rare, &mut bytes);
        for delimiter in b"|^~\\" {
            assert!(bytes.contains(delimiter), "{}", char::from(*delimiter));
        }
    }
}
