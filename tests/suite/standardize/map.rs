//! `clinmill map`: tables to and from other tools, coverage, suggestions and their review.

use super::{LABS, ROWS, site};
use clinmill_tests::Project;
use serde_json::json;
use std::fs;

const HEAD: &str =
    "source_code,source_name,target_system,target_code,target_name,equivalence,status,unit,when_unit,origin,note";
const DECLARED: &str = "title: t\nfrom: a\nto: b\nversion: 1.0.0\norigin: here\nlicence: x\n";

/// A table of a few tests, and an export in which some names are not among them.
fn project() -> Project {
    let project = Project::new();
    let rows = [
        ",Glucose,http://loinc.org,14749-6,Glucose [Moles/volume],equivalent,accepted,mmol/L,,manual,",
        ",总胆红素,http://loinc.org,14631-6,Bilirubin.total [Moles/volume],equivalent,accepted,umol/L,,manual,",
        ",直接胆红素,http://loinc.org,14629-0,Bilirubin.direct [Moles/volume],equivalent,accepted,umol/L,,manual,",
        ",总胆红素测定,http://loinc.org,14629-0,x,equivalent,rejected,,,manual,",
    ];
    project.write("maps/labs/map.csv", format!("{HEAD}\n{}\n", rows.join("\n")));
    project.write("maps/labs/mapping.yaml", DECLARED);
    project.write(
        "labs.csv",
        "test,unit,value\nGlucose,mmol/L,5.1\nGlucose,mmol/L,5.3\n总胆红素测定,umol/L,12\n总胆红素测定,umol/L,14\n\
         总胆红素测定,umol/L,13\nglucose (plasma),mmol/L,5.2\n???,,\n,,\n",
    );
    project
}

#[test]
fn coverage_counts_rows_and_values_worst_first() {
    let project = project();
    let args = [
        "map",
        "coverage",
        "labs.csv",
        "--map",
        "maps/labs",
        "--column",
        "test",
        "--unit",
        "unit",
    ];
    let json = project
        .run(args.into_iter().chain(["--format", "json"]))
        .expect_code(0)
        .json();
    let of = &json["columns"][0];
    assert_eq!(
        ["rows", "rows_mapped", "values", "values_mapped"].map(|key| of[key].as_u64()),
        [Some(7), Some(2), Some(4), Some(1)],
        "an empty cell is nothing to map: {of}"
    );
    let open: Vec<_> = of["open"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&open[0]["value"], &open[0]["rows"], &open[0]["state"]),
        (&"总胆红素测定".into(), &3.into(), &"rejected".into())
    );
    assert_eq!(open.len(), 3);
    let text = project.run(args).expect_code(0).stdout;
    assert!(
        text.contains("28.6") && text.contains("25.0") && text.contains("总胆红素测定"),
        "{text}"
    );
    for (args, said) in [
        (
            vec!["map", "coverage", "labs.csv"],
            "a file needs --map DIR and --column NAME",
        ),
        (
            vec!["map", "coverage", "labs.csv", "--map", "maps/labs", "--column", "tset"],
            "labs.csv has no column \"tset\"",
        ),
    ] {
        let run = project.run(args);
        assert!(run.code != Some(0) && run.stderr.contains(said), "{}", run.stderr);
    }
}

#[test]
fn coverage_of_a_pipeline_counts_every_step() {
    let site = site(LABS, ROWS);
    let project = site.project();
    let json = project
        .run(["map", "coverage", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    let of = &json["columns"][0];
    assert_eq!(
        (of["place"].as_str(), of["column"].as_str()),
        (Some("lis > labs"), Some("test"))
    );
    assert_eq!((of["rows"].as_u64(), of["rows_mapped"].as_u64()), (Some(5), Some(4)));
    assert_eq!(of["open"][0]["value"], "没有的项目");
}

/// What could not be standardized is counted and named, units too.
#[test]
fn coverage_of_a_pipeline_names_units_worst_first() {
    let site = site(LABS, ROWS);
    let units = ["g/L", "U/L-1", "zorks", "U/L-1", "", "g/L"];
    let row = |(i, unit): (usize, &str)| format!("a,x{i},血红蛋白,130,{unit},2026-01-09 07:00:00\n");
    let rows: String = units.into_iter().enumerate().map(row).collect();
    site.put("inbox/labs2.csv", format!("mrn,order,test,result,unit,at\n{rows}"));
    let project = site.project();
    let args = ["map", "coverage", "pipeline.yaml"];
    let run = project.run(args.into_iter().chain(["--format", "json"]));
    let json = run.expect_code(0).json();
    let of = &json["units"][0];
    assert_eq!((&of["place"], &of["column"]), (&"lis > labs".into(), &"unit".into()));
    assert_eq!(
        ["rows", "rows_read", "units", "units_read", "rejected"].map(|key| of[key].as_u64()),
        [Some(10), Some(7), Some(5), Some(3), Some(0)],
        "{of}"
    );
    let open = |unit: &str, rows: u64| json!({ "unit": unit, "state": "unknown-unit", "rows": rows });
    assert_eq!(of["open"], json!([open("U/L-1", 2), open("zorks", 1)]));
    let text = project.run(args).expect_code(0).stdout;
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    assert!(at("70.0") < at("90.9") && at("U/L-1") < at("没有的项目"), "{text}");

    // What a step rejects is counted still.
    let pipeline = LABS.replace("          on_error: null\n", "");
    project.write("pipeline.yaml", &pipeline);
    let text = project.run(args).expect_code(0).stdout;
    assert!(
        text.contains("lis > labs: 3 rows were rejected for their unit"),
        "{text}"
    );
}

#[test]
fn coverage_of_a_pipeline_counts_all_records() {
    let site = site(LABS, ROWS);
    let row = |i: usize| format!("a,x{i},没有的项目,1,,2026-01-09 07:00:00\n");
    let rows: String = (0..25_000).map(row).collect();
    site.put("inbox/labs2.csv", format!("mrn,order,test,result,unit,at\n{rows}"));
    let project = site.project();
    let told = project
        .run(["map", "coverage", "pipeline.yaml", "--format", "json"])
        .expect_code(0);
    let of = &told.json()["columns"][0];
    assert_eq!(
        (&of["rows"], &of["rows_mapped"], &of["is_cut"]),
        (&25_005.into(), &4.into(), &false.into())
    );
    assert!(!told.stderr.contains("CUT"), "{}", told.stderr);
}

#[test]
fn suggestions_are_reviewed_and_accepted() {
    let project = project();
    let suggest = [
        "map",
        "suggest",
        "labs.csv",
        "--map",
        "maps/labs",
        "--column",
        "test",
        "--unit",
        "unit",
        "--out",
        "review.csv",
    ];
    let json = project
        .run(suggest.into_iter().chain(["--format", "json"]))
        .expect_code(0)
        .json();
    assert_eq!((json["open"].as_u64(), json["targets"].as_u64()), (Some(3), Some(3)));
    let without: Vec<_> = json["without"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["value"])
        .collect();
    assert_eq!(without, ["???"]);
    let review = fs::read_to_string(project.at("review.csv")).unwrap();
    let lines: Vec<&str> = review.lines().collect();
    assert_eq!(json["rows"].as_u64(), Some(lines.len() as u64 - 1));
    // What was turned down is not offered again; the best comes first, with its score and what led to it.
    assert!(
        lines[1].starts_with(",总胆红素测定,http://loinc.org,14631-6,"),
        "{review}"
    );
    assert!(!review.contains("总胆红素测定,http://loinc.org,14629-0"), "{review}");
    assert!(lines[1].contains("3 rows; by the name"), "{review}");
    assert!(
        review.contains(",glucose (plasma),http://loinc.org,14749-6,"),
        "{review}"
    );
    assert!(lines[1..].iter().all(|line| line.contains(",proposed,")));
    let accept = ["map", "accept", "review.csv", "--into", "maps/labs", "--format", "json"];
    let before = fs::read_to_string(project.at("maps/labs/map.csv")).unwrap();
    let json = project.run(accept).expect_code(0).json();
    assert_eq!(
        (json["added"].as_u64(), json["left"].as_u64()),
        (Some(0), Some(lines.len() as u64 - 1))
    );
    project.write(
        "review.csv",
        format!("{}\n{}\n", lines[0], lines[1].replace(",proposed,", ",accepted,")),
    );
    let json = project.run(accept).expect_code(0).json();
    assert_eq!(
        (json["added"].as_u64(), json["replaced"].as_u64(), json["left"].as_u64()),
        (Some(1), Some(0), Some(0))
    );
    let after = fs::read_to_string(project.at("maps/labs/map.csv")).unwrap();
    // A line more, and the others as they were.
    let added = after.strip_prefix(before.as_str()).expect("the table's lines stay");
    assert_eq!(added.lines().count(), 1, "{added}");
    assert!(review.starts_with('\u{feff}'), "Excel asks for a byte order mark");
    let coverage = [
        "map",
        "coverage",
        "labs.csv",
        "--map",
        "maps/labs",
        "--column",
        "test",
        "--unit",
        "unit",
        "--format",
        "json",
    ];
    let of = project.run(coverage).expect_code(0).json();
    assert_eq!(of["columns"][0]["rows_mapped"], 5);
    // A review that contradicts the table is refused, and the table stays as it is.
    let row = lines[1]
        .replace(",proposed,", ",accepted,")
        .replace(",14631-6,", ",1-8,");
    project.write("review.csv", format!("{}\n{row}\n", lines[0]));
    let run = project.run(accept).expect_code(1);
    assert!(
        run.stderr.contains("review.csv:2: ")
            && run.stderr.contains("stands in maps/labs/map.csv:")
            && run.stderr.contains("make the one there `rejected` first"),
        "{}",
        run.stderr
    );
    assert_eq!(fs::read_to_string(project.at("maps/labs/map.csv")).unwrap(), after);
    // So is a unit that no step could convert to.
    let row = lines[1]
        .replace(",proposed,", ",accepted,")
        .replace("总胆红素测定", "胆红素总量")
        .replacen(",umol/L,", ",umoll/L,", 1);
    project.write("review.csv", format!("{}\n{row}\n", lines[0]));
    let run = project.run(accept).expect_code(1);
    assert!(
        run.stderr
            .contains("review.csv:2: the unit \"umoll/L\" of the target is no UCUM code"),
        "{}",
        run.stderr
    );
    assert_eq!(fs::read_to_string(project.at("maps/labs/map.csv")).unwrap(), after);
    project.write("review.csv", format!("{}\n1,2\n", lines[0]));
    let run = project.run(accept).expect_code(1);
    assert!(
        run.stderr
            .contains("review.csv:2: the row has not as many cells as the header"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_an_import_cannot_say_is_counted_and_located() {
    let project = project();
    project.write(
        "usagi.csv",
        "sourceCode,sourceName,mappingStatus,equivalence,conceptId,mappingType\n\
         K,Potassium,APPROVED,EQUAL,3023103,MAPS_TO\nK,Potassium,APPROVED,EQUAL,8753,MAPS_TO_UNIT\n",
    );
    let import = [
        "map",
        "import",
        "usagi.csv",
        "--from",
        "usagi",
        "--to",
        "maps/usagi",
        "--licence",
        "x",
        "--format",
        "json",
    ];
    let run = project.run(import).expect_code(0);
    assert!(
        run.stderr.contains("1 mapping left out") && run.stderr.contains("line 3: MAPS_TO_UNIT"),
        "{}",
        run.stderr
    );
    let json = run.json();
    assert_eq!((json["rows"].as_u64(), json["left_out"].as_u64()), (Some(1), Some(1)));
}

/// Two targets for one name, unit and specimen: neither would count, so that none of the file is taken.
#[test]
fn reviewed_rows_that_contradict_are_refused() {
    let project = project();
    let before = fs::read_to_string(project.at("maps/labs/map.csv")).unwrap();
    let head = HEAD.replace("note", "when_specimen,note");
    let molar = "http://loinc.org,14749-6,Glucose [Moles/volume],equivalent,accepted,mmol/L";
    let mass = "http://loinc.org,2345-7,Glucose [Mass/volume],equivalent,accepted,mg/dL";
    let accept = |rows: &[String]| {
        project.write("review.csv", format!("{head}\n{}\n", rows.join("\n")));
        project.run(["map", "accept", "review.csv", "--into", "maps/labs"])
    };
    for (rows, said) in [
        // Each other: in other spellings of name and unit, and where one asks for less.
        (
            vec![format!(",血糖,{molar},mmol/L,m,,"), format!(",血 糖,{mass},MMOL/L,m,,")],
            "review.csv:2: it has another target than review.csv:3",
        ),
        (
            vec![
                format!(",血糖,{molar},mmol/L,m,,"),
                format!(",血糖,{mass},mmol/L|g/L,m,,"),
            ],
            "review.csv:2: it has another target than review.csv:3",
        ),
        (
            vec![
                format!(",血糖,{molar},*|mmol/L,m,,"),
                format!(",血糖,{mass},*|mg/dL,m,,"),
            ],
            "review.csv:2: it has another target than review.csv:3",
        ),
        // The table.
        (
            vec![format!(",GLUCOSE,{mass},,m,,")],
            "review.csv:2: it has another target than maps/labs/map.csv:2",
        ),
        (
            vec![format!(",Glucose,{mass},,m,,")],
            "review.csv:2: \"Glucose\" stands in maps/labs/map.csv:2 already",
        ),
        // All of them are told.
        (
            vec![format!(",Glucose,{mass},,m,,"), format!(",总胆红素,{mass},,m,,")],
            "review.csv:3: \"总胆红素\" stands in maps/labs/map.csv:3 already",
        ),
    ] {
        let run = accept(&rows).expect_code(1);
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
        assert_eq!(fs::read_to_string(project.at("maps/labs/map.csv")).unwrap(), before);
    }
    // A row for one unit beside one for all others says more, and contradicts none.
    accept(&[
        format!(",Glucose,{mass},mg/dL,m,,"),
        format!(",血糖,{molar},*|mmol/L,m,,"),
        format!(",血糖,{mass},mg/dL,m,,"),
    ])
    .expect_code(0);
}

/// One file of suggestions has rows for every table of a pipeline: none of them comes into another one.
#[test]
fn rows_of_another_table_are_not_taken() {
    let project = project();
    let icd = ",肝移植状态,http://www.nhsa.gov.cn/icd-10,Z94.400,x,equivalent,accepted,,,manual,\n";
    project.write("maps/icd/map.csv", format!("{HEAD}\n{icd}"));
    project.write("maps/icd/mapping.yaml", DECLARED);
    let before = fs::read_to_string(project.at("maps/labs/map.csv")).unwrap();
    let accept = ["map", "accept", "review.csv", "--into", "maps/labs", "--format", "json"];
    project.write("review.csv", format!("{HEAD}\n{}", icd.replace("状态", "后")));
    let run = project.run(accept).expect_code(1);
    for said in [
        "review.csv:2: its target is of http://www.nhsa.gov.cn/icd-10",
        "those of maps/labs are of http://loinc.org",
        "of those beside it, icd could take it",
    ] {
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
    assert_eq!(fs::read_to_string(project.at("maps/labs/map.csv")).unwrap(), before);
    // Suggestions say for which table a row is.
    let head = format!("{HEAD},map");
    let rows = [",肝移植后,http://www.nhsa.gov.cn/icd-10,Z94.400,x,equivalent,accepted,,,manual,,icd"];
    project.write("review.csv", format!("{head}\n{}\n", rows.join("\n")));
    let run = project.run(accept).expect_code(0);
    assert!(
        run.stderr.contains("rows for other tables were left: icd (1)"),
        "{}",
        run.stderr
    );
    assert_eq!(run.json()["for_others"][0]["map"], "icd");
    assert_eq!(fs::read_to_string(project.at("maps/labs/map.csv")).unwrap(), before);
    let into = ["map", "accept", "review.csv", "--into", "maps/icd", "--format", "json"];
    assert_eq!(project.run(into).expect_code(0).json()["added"], 1);
    let icd = fs::read_to_string(project.at("maps/icd/map.csv")).unwrap();
    assert!(
        !icd.contains("map\n")
            && icd.ends_with(",肝移植后,http://www.nhsa.gov.cn/icd-10,Z94.400,x,equivalent,accepted,,,manual,\n"),
        "{icd}"
    );
}

/// Where two tests are called the same, their numbers tell them apart.
#[test]
fn values_tell_targets_of_one_name_apart() {
    let project = Project::new();
    let row = |name: &str, code: &str| format!(",{name},urn:tests,{code},x,equivalent,accepted,,,manual,\n");
    let rows = row("calcium blood", "total") + &row("calcium urine", "urine");
    project.write("maps/labs/map.csv", format!("{HEAD}\n{rows}"));
    project.write("maps/labs/mapping.yaml", DECLARED);
    let mut export = "test,value\n".to_owned();
    for i in 0..20 {
        export += &format!(
            "calcium blood,{}\ncalcium urine,{}\ncalcium,{}\n",
            2.1 + f64::from(i) / 50.0,
            40 + i,
            41 + i
        );
    }
    project.write("labs.csv", export);
    let first = |more: &[&str]| {
        let args = [
            "map",
            "suggest",
            "labs.csv",
            "--map",
            "maps/labs",
            "--column",
            "test",
            "--out",
            "review.csv",
        ];
        project.run(args.iter().chain(more)).expect_code(0);
        let review = fs::read_to_string(project.at("review.csv")).unwrap();
        review.lines().nth(1).unwrap().to_owned()
    };
    assert!(first(&[]).contains(",total,"), "by the names alone they are alike");
    let by_value = first(&["--value", "value"]);
    assert!(by_value.contains(",urine,"), "{by_value}");
}

#[test]
fn concepts_of_athena_are_targets() {
    let project = project();
    let suggest = [
        "map",
        "suggest",
        "labs.csv",
        "--map",
        "maps/labs",
        "--column",
        "test",
        "--athena",
        "athena",
        "--out",
        "review.csv",
    ];
    let said = |part: &str| {
        let run = project.run(suggest).expect_code(1);
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
        assert!(!project.at("review.csv").exists());
    };
    said("athena/CONCEPT.csv: the file is missing; an Athena folder has it");
    let head = "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\t\
                valid_start_date\tvalid_end_date\tinvalid_reason\n";
    let concepts = "1\tGlucose [Mass/volume] in Plasma\tMeasurement\tLOINC\tLab Test\tS\t2345-7\t19700101\t20991231\t\n\
                    2\tGlucose old\tMeasurement\tLOINC\tLab Test\t\t1-8\t19700101\t20201231\tD\n";
    project.write("athena/CONCEPT.csv", format!("{head}{concepts}"));
    said("athena/CONCEPT_RELATIONSHIP.csv: the file is missing; an Athena folder has it");
    let pairs = "concept_id_1\tconcept_id_2\trelationship_id\tvalid_start_date\tvalid_end_date\tinvalid_reason\n";
    project.write(
        "athena/CONCEPT_RELATIONSHIP.csv",
        format!("{pairs}x\t1\tMaps to\t1\t2\t\n"),
    );
    said("athena/CONCEPT_RELATIONSHIP.csv:2: concept_id_1 or concept_id_2 is no number");
    project.write("athena/CONCEPT_RELATIONSHIP.csv", pairs);
    project.write("athena/CONCEPT.csv", format!("{head}{concepts}many\tx\n"));
    said("athena/CONCEPT.csv:4: the row has no concept_id, or too few cells");
    project.write("athena/CONCEPT.csv", format!("{head}{concepts}"));
    project.run(suggest).expect_code(0);
    let review = fs::read_to_string(project.at("review.csv")).unwrap();
    let athena = "glucose (plasma),http://loinc.org,2345-7,Glucose [Mass/volume] in Plasma,";
    assert!(review.contains(athena) && !review.contains("1-8"), "{review}");
}

#[test]
fn tables_go_to_other_tools_and_come_back() {
    let project = project();
    let table = fs::read_to_string(project.at("maps/labs/map.csv")).unwrap();
    for format in ["usagi", "fhir-r4", "fhir-r5", "sssom"] {
        let (file, back) = (format!("{format}.out"), format!("maps/{format}"));
        project
            .run(["map", "export", "maps/labs", "--as", format, "--out", &file])
            .expect_code(0);
        project
            .run(["map", "import", &file, "--from", format, "--to", &back])
            .expect_code(0);
        let mut came: Vec<String> = fs::read_to_string(project.at(&back).join("map.csv"))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        let mut went: Vec<String> = table.lines().map(str::to_owned).collect();
        let header = went[0].replace(",when_unit", "");
        assert_eq!(came[0], header, "{format}");
        let without = |line: &String| line.replacen(",,manual,", ",manual,", 1);
        went = went[1..].iter().map(without).collect();
        came.remove(0);
        went.sort();
        came.sort();
        assert_eq!(came, went, "{format}");
        let again = project.run(["map", "import", &file, "--from", format, "--to", &back]);
        assert!(
            again.code != Some(0) && again.stderr.contains("is there already"),
            "{}",
            again.stderr
        );
    }
    // OMOP's own table holds concepts alone: what it has no place for is counted.
    let run = project
        .run([
            "map",
            "export",
            "maps/labs",
            "--as",
            "source-to-concept-map",
            "--format",
            "json",
        ])
        .expect_code(0);
    assert_eq!(run.json()["left_out"], 4);
    project.write("broken.csv", "a,b\n1,2\n");
    let run = project
        .run(["map", "import", "broken.csv", "--from", "usagi", "--to", "maps/new"])
        .expect_code(1);
    assert!(
        run.stderr
            .contains("broken.csv: line 1: the column sourceCode is missing"),
        "{}",
        run.stderr
    );
    assert!(!project.at("maps/new").exists());
}
