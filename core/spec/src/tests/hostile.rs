//! No text makes the reader panic, and every place it gives is inside the text.

use super::*;
use crate::{render, resolve};
use proptest::prelude::*;

fn survive(text: &str) {
    let mut loaded = read(text);
    if let Some(pipeline) = &mut loaded.pipeline {
        let second = resolve(pipeline, &loaded.source, &|_| None, &|sql| {
            Err((sql.len() / 2, "x".into()))
        });
        loaded.diagnostics.extend(second);
    }
    for place in loaded.diagnostics.iter().filter_map(|d| d.place.as_ref()) {
        assert!(text.get(place.start..place.end).is_some());
        assert!(place.line >= 1 && place.column >= 1);
    }
    render(&loaded.diagnostics, "p.yaml", text);
}

#[test]
fn every_prefix_of_the_example() {
    for (end, _) in EXAMPLE.char_indices() {
        survive(&EXAMPLE[..end]);
    }
}

#[test]
fn a_flood_of_mistakes_is_cut() {
    let text: String = (0..40_000).map(|i| format!("k{i}: 1\n")).collect();
    let found = read(&text).diagnostics;
    assert!(found.len() < 300);
    assert_eq!(found.last().unwrap().code, crate::codes::TOO_MANY);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in any::<String>()) {
        survive(&text);
    }

    #[test]
    fn text_that_looks_like_yaml(text in "([a-c甲]{0,2}[:\\-?!&*|>'\"{}\\[\\],#%@` \t\n\r$~0-9.]{0,4}){0,30}") {
        survive(&text);
    }

    #[test]
    fn the_example_with_a_piece_replaced(
        at in 0..EXAMPLE.len(), length in 0..40usize, with in "[a-z:{}\\[\\]\"'$ \n\t甲*&!|>-]{0,8}",
    ) {
        let floor = |mut i: usize| { i = i.min(EXAMPLE.len()); while !EXAMPLE.is_char_boundary(i) { i -= 1; } i };
        let (start, end) = (floor(at), floor(at + length));
        survive(&format!("{}{with}{}", &EXAMPLE[..start], &EXAMPLE[end.max(start)..]));
    }
}
