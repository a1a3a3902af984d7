//! Cells that hold no value, columns without a name, headers that come again: told, never taken for values.
#![allow(clippy::expect_used, reason = "helpers of tests")]

mod common;

use clinmill_sdk::{
    MemoryInput,
    arrow::{
        array::{ArrayRef, BooleanArray, NullArray, RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema},
    },
    testing::CollectedRecords,
};
use common::{cells, read, read_in_batches, table};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use std::{
    io::{Cursor, Write},
    sync::Arc,
};

fn options(more: &Value) -> Value {
    let mut options =
        json!({ "subject": { "id": "id", "issuer": "X" }, "key": ["k"], "columns": { "k": "k", "v": "v" } });
    for (name, value) in more.as_object().expect("options") {
        options[name] = value.clone();
    }
    options
}

fn text(at: &str, text: &str) -> String {
    format!("<c r=\"{at}\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
}

fn error(at: &str) -> String {
    format!("<c r=\"{at}\" t=\"e\"><v>#N/A</v></c>")
}

/// A workbook of sheets: name, attributes and rows.
fn workbook(sheets: &[(&str, &str, &[String])]) -> MemoryInput {
    with_shared(sheets, None)
}

/// The same, with shared texts.
fn with_shared(sheets: &[(&str, &str, &[String])], shared: Option<&str>) -> MemoryInput {
    const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
    let mut parts = Vec::new();
    let (mut list, mut relations) = (String::new(), String::new());
    for (i, (name, attributes, rows)) in sheets.iter().enumerate() {
        let n = i + 1;
        let rows: String = (1..)
            .zip(*rows)
            .map(|(r, row)| format!("<row r=\"{r}\">{row}</row>"))
            .collect();
        parts.push((
            format!("xl/worksheets/sheet{n}.xml"),
            format!("<worksheet xmlns=\"{MAIN}\"><sheetData>{rows}</sheetData></worksheet>"),
        ));
        list.push_str(&format!(
            "<sheet name=\"{name}\" sheetId=\"{n}\" r:id=\"rId{n}\" {attributes}/>"
        ));
        relations.push_str(&format!(
            "<Relationship Id=\"rId{n}\" Type=\"{OFFICE}/worksheet\" Target=\"worksheets/sheet{n}.xml\"/>"
        ));
    }
    // `s="1"` is a date.
    relations.push_str(&format!(
        "<Relationship Id=\"rIdStyles\" Type=\"{OFFICE}/styles\" Target=\"styles.xml\"/>"
    ));
    parts.push((
        "xl/styles.xml".to_owned(),
        format!(
            "<styleSheet xmlns=\"{MAIN}\"><cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/></cellXfs></styleSheet>"
        ),
    ));
    if let Some(shared) = shared {
        relations.push_str(&format!(
            "<Relationship Id=\"rIdTexts\" Type=\"{OFFICE}/sharedStrings\" Target=\"sharedStrings.xml\"/>"
        ));
        parts.push(("xl/sharedStrings.xml".to_owned(), shared.to_owned()));
    }
    parts.push((
        "xl/workbook.xml".to_owned(),
        format!("<workbook xmlns=\"{MAIN}\" xmlns:r=\"{OFFICE}\"><sheets>{list}</sheets></workbook>"),
    ));
    parts.push((
        "xl/_rels/workbook.xml.rels".to_owned(),
        format!("<Relationships xmlns=\"{PACKAGE}/relationships\">{relations}</Relationships>"),
    ));
    parts.push((
        "_rels/.rels".to_owned(),
        format!(
            "<Relationships xmlns=\"{PACKAGE}/relationships\"><Relationship Id=\"rId1\" Type=\"{OFFICE}/officeDocument\" \
             Target=\"xl/workbook.xml\"/></Relationships>"
        ),
    ));
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, xml) in parts {
        zip.start_file(name, zip::write::SimpleFileOptions::default())
            .expect("an entry");
        zip.write_all(xml.as_bytes()).expect("an entry");
    }
    MemoryInput::new("x", zip.finish().expect("an archive").into_inner())
}

fn header() -> String {
    [text("A1", "id"), text("B1", "k"), text("C1", "v")].concat()
}

/// Code and row of each rejection.
fn rejected(collected: &CollectedRecords) -> Vec<(&str, u64)> {
    let rejections = collected.rejections.iter();
    rejections.map(|r| (r.code.as_str(), r.at.row)).collect()
}

#[test]
fn an_error_of_a_workbook_is_no_identifier_no_key_and_no_value() {
    let input = workbook(&[(
        "s",
        "",
        &[
            header(),
            [error("A2"), text("B2", "a"), text("C2", "x")].concat(),
            [text("A3", "1"), error("B3"), text("C3", "x")].concat(),
            [text("A4", "1"), text("B4", "b"), error("C4")].concat(),
            [text("A5", "1"), text("B5", "c"), text("C5", "x"), error("D5")].concat(),
        ],
    )]);
    let collected = read(&table(options(&json!({}))), &input).expect("a workbook");
    assert_eq!(
        rejected(&collected),
        [("TABLE_CELL", 2), ("TABLE_CELL", 3), ("TABLE_CELL", 4)]
    );
    assert_eq!(cells(&collected, 0).subjects, [Some("1".to_owned())]);
    // Somebody who says that the error means nothing has said so.
    let collected = read(&table(options(&json!({ "null_values": ["#N/A"] }))), &input).expect("a workbook");
    assert_eq!(rejected(&collected), [("TABLE_NO_SUBJECT", 2), ("TABLE_NO_KEY", 3)]);
    assert_eq!(collected.rows_of(0), 2);
    // Nor does one choose the rows, or come down into others.
    let more = json!({ "where": { "v": ["y"] } });
    let collected = read(&table(options(&more)), &input).expect("a workbook");
    assert_eq!(rejected(&collected), [("TABLE_CELL", 2), ("TABLE_CELL", 4)]);
    let input = workbook(&[(
        "s",
        "",
        &[
            header(),
            [error("A2"), text("B2", "a"), text("C2", "x")].concat(),
            [text("B3", "b"), text("C3", "x")].concat(),
            [text("A4", "2"), text("B4", "c"), text("C4", "x")].concat(),
        ],
    )]);
    let source = table(options(&json!({ "fill_down": ["id"] })));
    for batch_rows in [1, 2, 100] {
        let collected = read_in_batches(&source, &input, batch_rows).expect("a workbook");
        assert_eq!(cells(&collected, 0).subjects, [Some("2".to_owned())], "{batch_rows}");
        assert_eq!(collected.rejections.len(), 2, "{batch_rows}");
    }
}

#[test]
fn a_formula_without_its_result_is_told() {
    let formula = |at: &str, kind: &str, value: &str| format!("<c r=\"{at}\"{kind}><f>1*2</f>{value}</c>");
    let input = workbook(&[(
        "s",
        "",
        &[
            header(),
            [text("A2", "1"), text("B2", "a"), formula("C2", "", "<v></v>")].concat(),
            [text("A3", "1"), text("B3", "b"), formula("C3", "", "<v/>")].concat(),
            [text("A4", "1"), text("B4", "c"), formula("C4", "", "")].concat(),
            [text("A5", "1"), text("B5", "d"), formula("C5", "", "<v>2</v>")].concat(),
            [text("A6", "1"), text("B6", "e"), formula("C6", " t=\"str\"", "<v></v>")].concat(),
            [text("A7", "1"), text("B7", "f"), "<c r=\"C7\" s=\"0\"/>".to_owned()].concat(),
        ],
    )]);
    let collected = read(&table(options(&json!({}))), &input).expect("a workbook");
    assert_eq!(
        rejected(&collected),
        [("TABLE_CELL", 2), ("TABLE_CELL", 3), ("TABLE_CELL", 4)]
    );
    let values: Vec<Option<String>> = cells(&collected, 0)
        .rows
        .into_iter()
        .map(|row| row[1].clone())
        .collect();
    assert_eq!(values, [Some("2".to_owned()), None, None]);
}

/// What is no plain text would be read in part, or as no value at all.
#[test]
fn a_value_that_cannot_be_read_whole_is_damage() {
    let value = |kind: &str, written: &str| {
        let cell = format!("<c r=\"C2\"{kind}><v>{written}</v></c>");
        let rows = [header(), [text("A2", "1"), text("B2", "a"), cell].concat()];
        let collected = read(&table(options(&json!({}))), &workbook(&[("s", "", &rows)]));
        collected.map(|c| cells(&c, 0).rows[0][1].clone()).map_err(|e| e.code)
    };
    for kind in ["", " t=\"n\"", " t=\"b\"", " t=\"e\"", " t=\"s\"", " t=\"str\""] {
        for bad in ["&bogus;", "1&bogus;", "&#0;", "1&#xD800;", "1&amp", "<![IGNORE[1]]>"] {
            assert_eq!(value(kind, bad), Err("TABLE_XLSX_DAMAGED".to_owned()), "{kind} {bad}");
        }
    }
    assert_eq!(value(" t=\"b\"", "1"), Ok(Some("TRUE".to_owned())));
    let good = "&lt;&gt;&amp;&quot;&apos;&#20540;&#x503C;";
    assert_eq!(value(" t=\"str\"", good), Ok(Some("<>&\"'值值".to_owned())));
}

/// The value of a cell, or why there is none; `more` are options of the column.
fn value_of(cell: &str, more: &Value) -> Result<Option<String>, String> {
    let mut options = options(&json!({}));
    options["columns"]["v"] = json!({ "name": "v" });
    for (name, value) in more.as_object().expect("options") {
        options["columns"]["v"][name] = value.clone();
    }
    let rows = [
        header(),
        [text("A2", "1"), text("B2", "a"), cell.to_owned()].concat(),
        [text("A3", "1"), text("B3", "b"), text("C3", "2")].concat(),
    ];
    let collected = read(&table(options), &workbook(&[("s", "", &rows)])).map_err(|e| e.code)?;
    match collected.rejections.first() {
        Some(rejection) => {
            // Its neighbour is there.
            assert_eq!((rejection.at.row, collected.rows_of(0)), (2, 1));
            Err(rejection.code.clone())
        }
        None => Ok(cells(&collected, 0).rows[0][1].clone()),
    }
}

#[test]
fn attributes_stand_in_any_white_space_and_quotes() {
    for tag in [
        "<c r=\"C2\"\tt=\"str\">",
        "<c\nr=\"C2\"\nt=\"str\"\n>",
        "<c r='C2'\r\nt='str'>",
        "<c t = \"str\" r\t=\t'C2'>",
    ] {
        let cell = format!("{tag}<v\n>a &amp; b</v\t></c >");
        assert_eq!(value_of(&cell, &json!({})), Ok(Some("a & b".to_owned())), "{tag}");
    }
    // The number of a shared text is one however its type is written.
    let shared = "<c r='C2'\tt='s'><v>x</v></c>";
    assert_eq!(value_of(shared, &json!({})), Err("TABLE_CELL".to_owned()));
}

/// What one cell writes otherwise than others costs no workbook.
#[test]
fn values_are_read_however_the_format_lets_them_be_written() {
    for (cell, meant) in [
        ("<c r=\"C2\"><v>&#53;</v></c>", "5"),
        ("<c r=\"C2\"><v>1&#x31;&#46;5</v></c>", "11.5"),
        ("<c r=\"C2\"><v><![CDATA[57]]></v></c>", "57"),
        ("<c r=\"C2\"><v>5<!-- x -->6</v></c>", "56"),
        ("<c r=\"C2\"><v><?x y?>5<![CDATA[]]>6</v></c>", "56"),
        (
            "<c r=\"C2\"><v>5</v><extLst><ext uri=\"x\"><v>77</v></ext></extLst></c>",
            "5",
        ),
        ("<c r=\"C2\"><extLst/><v>5</v></c>", "5"),
        ("<x:c r=\"C2\"><x:f>A1</x:f><x:v>5<!-- --></x:v><x:extLst/></x:c>", "5"),
        ("<c r=\"C2\" s=\"1\"><v>45000</v><extLst></extLst></c>", "2023-03-15"),
        ("<c r=\"C2\" s=\"1\"><v>450<![CDATA[00]]></v></c>", "2023-03-15"),
        ("<c r=\"C2\" t=\"b\"><v>&#49;</v></c>", "TRUE"),
        (
            "<c r=\"C2\" t=\"str\"><v>a&lt;<![CDATA[b&<c]]><!-- x -->d&amp;</v></c>",
            "a<b&<cd&",
        ),
        ("<c r=\"C2\" t=\"d\"><v>2026-<!-- -->02-03</v></c>", "2026-02-03"),
        (
            "<c r=\"C2\" t=\"inlineStr\"><is><t>a&lt;<![CDATA[b]]></t></is><extLst><ext/></extLst></c>",
            "a<b",
        ),
        ("<c r=\"C2\"><v>12345678901234567<!-- --></v></c>", "12345678901234567"),
    ] {
        assert_eq!(value_of(cell, &json!({})), Ok(Some(meant.to_owned())), "{cell}");
    }
    for cell in [
        "<c r=\"C2\"><v>5</v><extLst><c r=\"C2\"><v>6</v></c></extLst></c>",
        "<c r=\"C2\"><v>5</v><extLst><row r=\"9\"/></extLst></c>",
        "<c r=\"C2\"><v>5</v><extLst></c>",
        "<c r=\"C2\"><v>5<!-- x --></v>",
        "<c r=\"C2\" t=\"q\"><v>5</v>",
        "<c r=\"C2\"><v>5<!-- x </v></c>",
    ] {
        assert_eq!(
            value_of(cell, &json!({})),
            Err("TABLE_XLSX_DAMAGED".to_owned()),
            "{cell}"
        );
    }
}

#[test]
fn a_cell_that_is_wrong_costs_its_row() {
    for cell in [
        "<c r=\"C2\" t=\"\"><v>5</v></c>",
        "<c r=\"C2\" t=\"q\"><v>5</v></c>",
        "<c r=\"C2\" t=\"q\"><v>5</v><extLst/></c>",
        "<c r=\"C2\" t=\"b\"><v>2</v></c>",
        "<c r=\"C2\" t=\"n\"><v>five</v></c>",
        "<c r=\"C2\" t=\"e\"><v>#ODD!</v></c>",
        "<c r=\"C2\" t=\"s\"><v>99</v></c>",
        "<c r=\"C2\" t=\"s\"><v>18446744073709551616</v></c>",
        "<c r=\"C2\" t=\"s\"><v>\n0\n</v></c>",
        "<c r=\"C2\" t=\"s\"><v>-1</v></c>",
        "<c r=\"C2\" t=\"s\"><v>0.0</v></c>",
        "<c r=\"C2\" t=\"s\"><v><![CDATA[99]]></v></c>",
        "<c r=\"C2\"><v>5&amp;6</v></c>",
        "<c r=\"C2\"><v>5</v><v>6</v></c>",
        "<c r=\"C2\"><v>5</v><is><t>6</t></is></c>",
        "<c r=\"C2\"><v>5</v></c><c r=\"C2\"><v>6</v></c>",
        "<c r=\"$C$2\"><v>5</v></c>",
        "<c r=\"XFE2\"><v>5</v></c>",
        "<c r=\"2\"><v>5</v></c>",
        "<c r=\"C\"><v>5</v></c>",
        "<c r=\"\"><v>5</v></c>",
        "<c r=\"C3\"><v>5</v></c>",
        "<c r=\"C1\"><v>5</v></c>",
        "<c r=\"C9\"><v>5</v></c>",
        "<c t=\"q\"><v>5</v></c>",
        "<c r=\"D2\" t=\"q\"><v>5</v></c><c><v>6</v></c>",
    ] {
        assert_eq!(value_of(cell, &json!({})), Err("TABLE_CELL".to_owned()), "{cell}");
    }
    // Somebody who says that it means nothing has said so; a column that nobody names costs nothing.
    let odd = "<c r=\"C2\" t=\"e\"><v>#ODD!</v></c>";
    let rows = [header(), [text("A2", "1"), text("B2", "a"), odd.to_owned()].concat()];
    let input = workbook(&[("s", "", &rows)]);
    let collected = read(&table(options(&json!({ "null_values": ["#ODD!"] }))), &input).expect("a workbook");
    assert_eq!((collected.rows_of(0), collected.rejections.len()), (1, 0));
    let beside = "<c r=\"D2\" t=\"q\"><v>5</v></c><c r=\"C2\"><v>6</v></c>";
    assert_eq!(value_of(beside, &json!({})), Ok(Some("6".to_owned())));
}

#[test]
fn shared_texts_of_odd_cells() {
    let shared = "<sst xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><si><t>a</t></si><si><t>b</t></si></sst>";
    let cell = |row: u32, written: &str| {
        [
            text(&format!("A{row}"), "1"),
            text(&format!("B{row}"), &row.to_string()),
            format!("<c r=\"C{row}\" t=\"s\">{written}</c>"),
        ]
        .concat()
    };
    let rows = [
        header(),
        cell(2, "<v>1</v>"),
        cell(3, "<v>&#49;</v>"),
        cell(4, "<v>0</v><extLst><ext/></extLst>"),
        cell(5, "<v>7</v><extLst><ext/></extLst>"),
        cell(6, "<v>0</v>"),
    ];
    let input = with_shared(&[("s", "", &rows)], Some(shared));
    let collected = read(&table(options(&json!({}))), &input).expect("a workbook");
    let rows = cells(&collected, 0).rows;
    let values: Vec<Option<&str>> = rows.iter().map(|row| row[1].as_deref()).collect();
    assert_eq!(values, [Some("b"), Some("b"), Some("a"), Some("a")]);
    assert_eq!(rejected(&collected), [("TABLE_CELL", 5)]);
}

#[test]
fn a_number_is_finite_and_has_no_white_space() {
    let number = |written: &str| format!("<c r=\"C2\"><v>{written}</v></c>");
    for (written, text) in [("1e999", "1e999"), ("-1e999", "-1e999"), ("inf", "inf"), ("NaN", "NaN")] {
        for cell in [number(written), number(&format!("\n{written}\n"))] {
            assert_eq!(value_of(&cell, &json!({})), Ok(Some(text.to_owned())), "{cell:?}");
            for kind in ["number", "decimal", "integer"] {
                let value = value_of(&cell, &json!({ "type": kind }));
                assert_eq!(value, Err("TABLE_TYPE".to_owned()), "{cell:?} {kind}");
            }
        }
    }
    for written in ["\n5\n", " 5", "5\t", "\r\n5"] {
        for options in [json!({}), json!({ "type": "integer" })] {
            assert_eq!(
                value_of(&number(written), &options),
                Ok(Some("5".to_owned())),
                "{written:?}"
            );
        }
    }
    // The reader of workbooks does not say which time such a number is.
    let day = |written: &str| format!("<c r=\"C2\" s=\"1\"><v>{written}</v></c>");
    assert_eq!(value_of(&day("45000"), &json!({})), Ok(Some("2023-03-15".to_owned())));
    assert_eq!(value_of(&day("45000\n"), &json!({})), Err("TABLE_CELL".to_owned()));
    assert_eq!(value_of(&day("1e999"), &json!({})), Ok(Some("1e999".to_owned())));
    // The white space of a text is its own, and of nothing but white space is no number.
    let spaced = "<c r=\"C2\" t=\"str\"><v> 5 </v></c>";
    assert_eq!(value_of(spaced, &json!({})), Ok(Some(" 5 ".to_owned())));
    assert_eq!(value_of(&number("\n"), &json!({})), Ok(None));
}

#[test]
fn a_value_in_another_place_is_told() {
    for cell in [
        "<c r=\"C2\" t=\"inlineStr\"><v>5</v></c>",
        "<c r=\"C2\" t=\"inlineStr\"><is><t>5</t></is><v>5</v></c>",
        "<c r=\"C2\" t=\"inlineStr\"><is><t>5</t></is><v></v></c>",
        "<c r=\"C2\"><v>5</v><f>2+3</f></c>",
        "<c r=\"C2\" t=\"str\"><v>x</v><f>A1</f></c>",
        "<c r=\"C2\"><v>5</v><v/></c>",
        "<c r=\"C2\"><f>2+3</f><v>\n</v></c>",
    ] {
        assert_eq!(value_of(cell, &json!({})), Err("TABLE_CELL".to_owned()), "{cell}");
    }
    let nested = "<c r=\"C2\"><v><x/>5</v></c>";
    assert_eq!(value_of(nested, &json!({})), Err("TABLE_XLSX_DAMAGED".to_owned()));
    for empty in [
        "<c r=\"C2\" t=\"inlineStr\"><is><t></t></is></c>",
        "<c r=\"C2\"><v/></c>",
    ] {
        assert_eq!(value_of(empty, &json!({})), Ok(None), "{empty}");
    }
}

#[test]
fn a_hidden_sheet_is_not_the_first() {
    let rows = |value: &str| [header(), [text("A2", "1"), text("B2", "a"), text("C2", value)].concat()];
    let (old, new) = (rows("old"), rows("new"));
    let input = workbook(&[("old", "state=\"hidden\"", &old), ("new", "", &new)]);
    let value = |more: Value| {
        let collected = read(&table(options(&more)), &input).expect("a workbook");
        cells(&collected, 0).rows[0][1].clone()
    };
    assert_eq!(value(json!({})).as_deref(), Some("new"));
    assert_eq!(value(json!({ "sheet": 1 })).as_deref(), Some("old"));
    assert_eq!(value(json!({ "sheet": "old" })).as_deref(), Some("old"));
}

#[test]
fn sheets_that_nobody_asked_for_are_counted() {
    let rows = |n: usize| -> Vec<String> {
        let row = |r: usize| {
            [
                text(&format!("A{r}"), "1"),
                text(&format!("B{r}"), "a"),
                text(&format!("C{r}"), "x"),
            ]
            .concat()
        };
        std::iter::once(header()).chain((2..n + 2).map(row)).collect()
    };
    let (january, february, old) = (rows(1), rows(3), rows(5));
    let notes = [text("A1", "what this is"), text("A2", "written by hand")];
    let input = workbook(&[
        ("2026-01", "", &january),
        ("2026-02", "", &february),
        ("old", "state=\"hidden\"", &old),
        ("notes", "", &notes),
    ]);
    let collected = |more: Value| read(&table(options(&more)), &input).expect("a workbook");
    let told = collected(json!({}));
    assert_eq!(cells(&told, 0).rows.len(), 1);
    assert_eq!(told.filtered.get("other_sheets"), Some(&3));
    let told = collected(json!({ "sheet": 2 }));
    assert_eq!((cells(&told, 0).rows.len(), told.filtered.len()), (3, 0));
}

#[test]
fn a_column_without_a_type_holds_nothing() {
    let texts = |values: [&str; 2]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Null, true),
    ]));
    let columns = vec![
        texts(["1", "2"]),
        texts(["a", "b"]),
        Arc::new(NullArray::new(2)) as ArrayRef,
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("a batch");
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).expect("a writer");
    writer.write(&batch).expect("rows");
    let input = MemoryInput::new("x", writer.into_inner().expect("a file"));
    let collected = read(&table(options(&json!({}))), &input).expect("a Parquet file");
    assert!(collected.rejections.is_empty(), "{:?}", collected.rejections);
    assert!(cells(&collected, 0).rows.iter().all(|row| row[1].is_none()));
    assert_eq!(collected.rows_of(0), 2);
}

#[test]
fn a_truth_value_is_one_text_in_every_format() {
    let texts = |values: [&str; 2]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let columns = [
        ("id", texts(["1", "2"])),
        ("k", texts(["a", "b"])),
        (
            "v",
            Arc::new(BooleanArray::from(vec![Some(true), Some(false)])) as ArrayRef,
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows");
    let parquet = MemoryInput::new("x", writer.into_inner().expect("a file"));
    let flag = |at: &str, value: u8| format!("<c r=\"{at}\" t=\"b\"><v>{value}</v></c>");
    let rows = [
        header(),
        [text("A2", "1"), text("B2", "a"), flag("C2", 1)].concat(),
        [text("A3", "2"), text("B3", "b"), flag("C3", 0)].concat(),
    ];
    for input in [parquet, workbook(&[("s", "", &rows)])] {
        let collected = read(&table(options(&json!({}))), &input).expect("a table");
        let rows = cells(&collected, 0).rows;
        let values: Vec<Option<&str>> = rows.iter().map(|row| row[1].as_deref()).collect();
        assert_eq!(values, [Some("TRUE"), Some("FALSE")]);
        for word in ["false", "False", "FALSE"] {
            let nulls = json!({ "null_values": [word] });
            let collected = read(&table(options(&nulls)), &input).expect("a table");
            let rows = cells(&collected, 0).rows;
            let values: Vec<Option<&str>> = rows.iter().map(|row| row[1].as_deref()).collect();
            assert_eq!(values, [Some("TRUE"), None], "{word}");
        }
    }
}

#[test]
fn a_filled_cell_without_a_header_is_told() {
    let unpivot = |more: Value| {
        let mut unpivot = json!({ "columns": "*", "name": "test", "value": "value" });
        for (name, value) in more.as_object().expect("options") {
            unpivot[name] = value.clone();
        }
        table(
            json!({ "subject": { "id": "id", "issuer": "X" }, "key": ["k", "test"], "columns": { "k": "k" },
            "unpivot": unpivot }),
        )
    };
    let input = MemoryInput::new("x", "id,k,Na,,K,\n1,a,1,9,2,\n2,b,1,,2,8\n");
    let collected = read(&unpivot(json!({})), &input).expect("a table");
    assert_eq!(rejected(&collected), [("TABLE_NO_NAME", 2), ("TABLE_NO_NAME", 3)]);
    let at: Vec<Option<u32>> = collected.rejections.iter().map(|r| r.at.cell).collect();
    assert_eq!((collected.rows_of(0), at), (4, vec![Some(4), Some(6)]));
    let collected = read(&unpivot(json!({ "except": [""] })), &input).expect("a table");
    assert_eq!((collected.rows_of(0), collected.rejections.len()), (4, 0));
}

#[test]
fn a_header_that_comes_again_is_no_row() {
    let read = |text: &str, more: Value, batch_rows: usize| {
        let input = MemoryInput::new("x", text);
        read_in_batches(&table(options(&more)), &input, batch_rows).expect("a table")
    };
    let joined = "id,k,v\n1,a,x\n\u{feff}id, k ,\"v\"\n2,b,y\nid,k,v\nid,k,w\n";
    for batch_rows in [1, 2, 100] {
        let collected = read(joined, json!({}), batch_rows);
        let subjects = ["1", "2", "id"].map(|id| Some(id.to_owned()));
        assert_eq!(cells(&collected, 0).subjects, subjects, "{batch_rows}");
        assert_eq!(collected.filtered["repeated_header"], 2, "{batch_rows}");
        // Nobody knows whose the first row of the second export is.
        let collected = read(
            "id,k,v\n1,a,x\nid,k,v\n,b,y\n2,c,y\n",
            json!({ "fill_down": ["id"] }),
            batch_rows,
        );
        assert_eq!(rejected(&collected), [("TABLE_FILL_UNKNOWN", 4)], "{batch_rows}");
        assert_eq!(collected.rows_of(0), 2, "{batch_rows}");
    }
    let input = workbook(&[("s", "", &[header(), header().replace('1', "2")])]);
    let collected = common::read(&table(options(&json!({}))), &input).expect("a workbook");
    assert_eq!((collected.rows_of(0), collected.filtered["repeated_header"]), (0, 1));
}
