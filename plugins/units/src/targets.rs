//! The units that other tables say values are to be converted to, checked before there are rows.

use crate::{error, ucum};
use clinmill_sdk::{BindContext, MappingTable, PluginError, RowState};

/// Columns by which a table that names units of its targets is known (`mappings/README.md`).
const COLUMNS: [&str; 3] = ["target_code", "unit", "status"];

/// Checks the column `unit` of a table of codes, which holds UCUM codes; other tables are as they are.
///
/// # Errors
/// With file and line: the first accepted row with a unit that is none.
pub fn check(table: &MappingTable) -> Result<(), PluginError> {
    let [Some(_), Some(unit), Some(status)] = COLUMNS.map(|name| table.column(name)) else {
        return Ok(());
    };
    for row in &table.rows {
        let code = row.cell(unit);
        if code.is_empty() || table.state(row, status).map_err(error::of_table)? != RowState::Accepted {
            continue;
        }
        if let Err(why) = ucum::validate(code) {
            let what = format!("the unit {code:?} of the target is no UCUM code: {why}");
            return Err(error::of_table(table.error(row.line, what)));
        }
    }
    Ok(())
}

/// Checks the tables of the pipeline, one of which a column of units to convert to comes from.
///
/// # Errors
/// As [`check`]. A table that cannot be read is for the step that asks for it.
pub fn check_all(context: &BindContext) -> Result<(), PluginError> {
    let tables = context.resources.iter();
    let tables = tables.filter_map(|(reference, resource)| MappingTable::read(reference, resource).ok());
    tables.into_iter().try_for_each(|table| check(&table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OnError, Units, UnitsConfig};
    use clinmill_sdk::{
        Resource, Transform,
        arrow::datatypes::{DataType, Field, Schema},
    };

    fn resource(rows: &str) -> Resource {
        let yaml = "title: t\nfrom: a\nto: b\nversion: 1\norigin: here\nlicence: x\n";
        let map = format!("source_name,target_code,status,unit\n{rows}");
        Resource {
            files: [("mapping.yaml".into(), yaml.into()), ("map.csv".into(), map.into())].into(),
        }
    }

    fn said(rows: &str) -> Option<String> {
        let table = MappingTable::read("maps:x", &resource(rows)).unwrap();
        check(&table)
            .err()
            .map(|error| format!("{}: {}", error.code, error.message))
    }

    #[test]
    fn a_unit_that_is_no_code_is_located() {
        assert_eq!(said("a,1,accepted,10*9/L\nb,2,accepted,\n"), None);
        assert_eq!(said("a,1,proposed,mgg\nb,2,rejected,K/uLL\n"), None);
        let message = said("a,1,accepted,g/L\nb,2,accepted,K/uLL\n").unwrap();
        assert!(
            message.starts_with("UNITS_MAP: maps:x/map.csv:3: the unit \"K/uLL\" of the target is no UCUM code: "),
            "{message}"
        );
    }

    #[test]
    fn the_step_refuses_it_before_there_are_rows() {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let schema = Schema::new(vec![
            Field::new("v", DataType::Int64, true),
            text("u"),
            text("loinc_unit"),
        ]);
        let bind = |to: Option<&str>, rows: &str| {
            let config = UnitsConfig {
                value: "v".into(),
                unit: "u".into(),
                unit_in_value: None,
                to: to.map(str::to_owned),
                to_column: to.is_none().then(|| "loinc_unit".to_owned()),
                also: Vec::new(),
                ranges: Vec::new(),
                unit_in_range: None,
                map: None,
                analytes: None,
                analyte: None,
                prefix: "standard".into(),
                scale: 10,
                on_error: OnError::Reject,
            };
            let mut context = BindContext::default();
            context.resources.insert("maps:x".into(), resource(rows));
            Units::bind(config, &schema, &context).err()
        };
        let refused = bind(None, "a,1,accepted,mgg\n").unwrap();
        assert_eq!(refused.pointer.as_deref(), Some("/to_column"));
        assert!(refused.message.contains("maps:x/map.csv:2: "), "{}", refused.message);
        assert!(bind(None, "a,1,accepted,mg\n").is_none());
        // Nothing of the table is converted to.
        assert!(bind(Some("mg/dL"), "a,1,accepted,mgg\n").is_none());
    }
}
