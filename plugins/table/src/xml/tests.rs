//! Cells of worksheets, and where their XML ends.

use super::*;

fn whole(text: &str) -> bool {
    // Also where blocks end anywhere.
    struct Drip<'t>(&'t [u8]);
    impl Read for Drip<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let n = to.len().min(1).min(self.0.len());
            to[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }
    let at_once = Tags::new(text.as_bytes()).finish().is_ok();
    assert_eq!(at_once, Tags::new(Drip(text.as_bytes())).finish().is_ok(), "{text}");
    at_once
}

#[test]
fn tags_fit_or_do_not() {
    for good in [
        "",
        "<a/>",
        "<?xml version=\"1.0\"?><!-- <x> --><x:a b='>' c=\"/>'\"><b />t &lt;3 > <![CDATA[<3]]></x:a >",
        "<row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t xml:space=\"preserve\">血糖</t></is></c></row>",
    ] {
        assert!(whole(good), "{good}");
    }
    for bad in [
        "<t><3</t>",
        "<t>a < b</t>",
        "<t>a<b</t></c>",
        "<t>a<b c></t>",
        "<c><v>1</v></row>",
        "</c>",
        "<c>",
        "<c",
        "<c a=\"",
        "<c a=\"1\" <v>",
        "<!DOCTYPE x>",
        "<>",
    ] {
        assert!(!whole(bad), "{bad}");
    }
}

#[test]
fn values_as_they_stand() {
    let sheet = "<x:worksheet><x:row r=\"1\"><x:c r=\"A1\"><x:f>c<!-- <c> -->1</x:f><x:v>0012</x:v></x:c><x:c/>\
        <x:c t=\"inlineStr\"><x:is><x:t>5</x:t></x:is></x:c><x:c><x:v></x:v></x:c><x:c><x:v>1e2</x:v></x:c></x:row></x:worksheet>";
    let mut tags = Tags::new(sheet.as_bytes());
    for value in ["0012", "", "", "", "1e2"] {
        assert_eq!(tags.cell().unwrap(), Some(value.as_bytes()));
    }
    assert_eq!(tags.cell().unwrap(), None);
    assert!(matches!(Tags::new(&b"\xff\xfe<\0"[..]).finish(), Err(Fault::Utf16)));
}

#[test]
fn attributes_however_they_are_written() {
    for good in [
        " t=\"s\"",
        "\tt='s'>",
        "\r\nr=\"t='x'\"\nt\n=\t's' />",
        " x:t='q' at='r't=\"s\"",
    ] {
        assert_eq!(attribute(good.as_bytes(), b"t"), Some(&b"s"[..]), "{good}");
    }
    for bad in ["", ">", " r=\" t='s'\">", " t", " t=", " t=s>", " t='s", " at='s'/>"] {
        assert_eq!(attribute(bad.as_bytes(), b"t"), None, "{bad}");
    }
}
