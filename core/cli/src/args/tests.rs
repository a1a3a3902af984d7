//! What the command line takes.

use super::*;
use clap::{CommandFactory, error::ErrorKind};

fn parse(line: &str) -> Result<Cli, ErrorKind> {
    Cli::try_parse_from(line.split_whitespace()).map_err(|e| e.kind())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_begins_with_what_it_is_for() {
    let help = Cli::command().render_help().to_string();
    assert!(
        help.starts_with("Hospital exports to standardized, versioned datasets"),
        "{help}"
    );
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    for line in [
        "clinmill --format json -q run p.yaml",
        "clinmill run p.yaml --quiet --format json",
    ] {
        let cli = parse(line).unwrap();
        assert!(cli.global.quiet && cli.global.format == ResultFormat::Json && cli.global.log_format == Format::Text);
    }
    assert_eq!(
        parse("clinmill run p.yaml --format xml").unwrap_err(),
        ErrorKind::InvalidValue
    );
}

#[test]
fn run_takes_its_flags() {
    let Command::Run(run) = parse("clinmill run p.yaml --full --approve-deletes --engine ballista://h:1")
        .unwrap()
        .command
    else {
        panic!("not run");
    };
    assert!(run.full && run.approve_deletes);
    assert_eq!(run.engine, "ballista://h:1");
    assert_eq!(parse("clinmill run").unwrap_err(), ErrorKind::MissingRequiredArgument);
}

#[test]
fn rows_of_diff_has_a_default_and_takes_no_positional() {
    let rows = |line: &str| match parse(line).unwrap().command {
        Command::Diff(diff) => (diff.target, diff.from, diff.to, diff.rows),
        _ => panic!("not diff"),
    };
    assert_eq!(rows("clinmill diff d 1 2"), ("d".into(), 1, 2, None));
    assert_eq!(rows("clinmill diff --rows d 1 2"), ("d".into(), 1, 2, Some(20)));
    assert_eq!(rows("clinmill diff d 1 2 --rows=5"), ("d".into(), 1, 2, Some(5)));
}

#[test]
fn formats_of_tools_and_of_results_do_not_meet() {
    let cli = parse("clinmill map export d --as fhir-r4 --format json").unwrap();
    assert_eq!(cli.global.format, ResultFormat::Json);
    assert!(matches!(cli.command, Command::Map(MapCommand::Export(e)) if e.tool == MapFormat::FhirR4));
    assert_eq!(
        parse("clinmill map import f --to d").unwrap_err(),
        ErrorKind::MissingRequiredArgument
    );
}

#[test]
fn validate_wants_a_file_and_init_none() {
    assert_eq!(
        parse("clinmill validate").unwrap_err(),
        ErrorKind::MissingRequiredArgument
    );
    assert!(matches!(parse("clinmill init").unwrap().command, Command::Init(i) if i.dir == std::path::Path::new(".")));
    assert!(matches!(
        parse("clinmill quarantine show p.yaml abc").unwrap().command,
        Command::Quarantine(Quarantine::Show(s)) if s.id == "abc"
    ));
    assert!(matches!(
        parse("clinmill units convert -5.6 Cel [degF] --format json").unwrap().command,
        Command::Units(Units { tests: None, command: Some(UnitsCommand::Convert(c)) }) if c.value == "-5.6"
    ));
    assert!(matches!(
        parse("clinmill units --tests f.xml").unwrap().command,
        Command::Units(Units {
            tests: Some(_),
            command: None
        })
    ));
    assert_eq!(parse("clinmill frobnicate").unwrap_err(), ErrorKind::InvalidSubcommand);
}
