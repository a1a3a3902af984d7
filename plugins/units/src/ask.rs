//! One value at a time, understood as the step understands it.

use crate::{
    bridge::Bridges,
    core::{Conversion, Lost},
    error,
    transform::as_meant,
    ucum::{self, Ratio},
};
use clinmill_sdk::{
    MappingTable, PluginError,
    units::{Spellings, told_apart},
};

/// The tables that a step would be given.
#[derive(Debug, Default)]
pub struct Tables {
    local: Spellings,
    bridges: Bridges,
}

/// A converted value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The value, to ten digits after the point.
    pub value: String,
    /// The UCUM code of the unit it was converted from.
    pub from: String,
    /// The UCUM code of its unit.
    pub unit: String,
    /// What was multiplied.
    pub factor: String,
}

/// Digits after the point, as the step has them without `scale`.
const SCALE: u8 = 10;

impl Tables {
    /// From a table of spellings and one of molar masses.
    ///
    /// # Errors
    /// What the step says of a table that it cannot use.
    pub fn new(map: Option<&MappingTable>, analytes: Option<&MappingTable>) -> Result<Self, PluginError> {
        Ok(Self {
            local: map
                .map(Spellings::new)
                .transpose()
                .map_err(error::of_table)?
                .unwrap_or_default(),
            bridges: analytes.map(Bridges::new).transpose()?.unwrap_or_default(),
        })
    }

    /// Converts a value between two written units.
    ///
    /// # Errors
    /// Why it cannot be, in the words of the step.
    pub fn convert(&self, value: &Ratio, from: &str, to: &str, analyte: &str) -> Result<Answer, String> {
        let find = |text: &str| {
            self.local
                .find(text)
                .ok_or_else(|| format!("{text:?} is neither in the table of spellings nor a UCUM code"))
        };
        let (of, into) = (find(from)?, find(to)?);
        // G/L: of each other they tell which of the two it is, as in the step.
        let meant = as_meant(of.clone(), from, &into.code);
        let (from, to) = (meant.code, as_meant(into, to, &of.code).code);
        let unit = |code: &str| ucum::unit(code).map_err(|why| why.to_string());
        let index = self.bridges.analyte(analyte);
        if !analyte.is_empty() && index.is_none() {
            return Err(format!("{analyte:?} is no analyte of the table"));
        }
        let conversion = match told_apart(&from, &to) {
            Some(_) => None,
            None => Conversion::between(&unit(&from)?, &unit(&to)?, self.bridges.of(index)),
        };
        let conversion = conversion.ok_or("the units measure different things")?;
        let result = conversion.large(value, SCALE).map_err(|lost| match lost {
            Lost::NoResult => "there is no such value, or it has too many digits",
            Lost::TooSmall => "the result is not 0, and smaller than ten digits after the point hold",
        })?;
        Ok(Answer {
            value: Ratio::decimal(result, u32::from(SCALE)).to_string(),
            from,
            unit: to,
            factor: conversion.factor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinmill_sdk::Resource;
    use std::{fs, path::Path};

    fn shipped(folder: &str) -> MappingTable {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../mappings")
            .join(folder);
        let mut resource = Resource::default();
        for file in ["map.csv", "mapping.yaml"] {
            resource.files.insert(file.into(), fs::read(folder.join(file)).unwrap());
        }
        MappingTable::read("maps:x", &resource).unwrap()
    }

    #[test]
    fn a_value_is_converted_as_the_step_does() {
        let (units, masses) = (shipped("units-local__ucum"), shipped("molar-mass__ucum"));
        let tables = Tables::new(Some(&units), Some(&masses)).unwrap();
        let said = |value: &str, from, to, analyte| {
            let answer = tables.convert(&Ratio::parse(value).unwrap(), from, to, analyte);
            answer.map_or_else(|why| why, |answer| format!("{} {}", answer.value, answer.unit))
        };
        assert_eq!(
            said("100", "MG/DL", "毫摩尔/升", "glucose"),
            "5.5507449100 mmol/L".replace("00 ", " ")
        );
        assert_eq!(said("5.6", "×10⁹/L", "K/uL", ""), "5.6 10*3/uL");
        assert_eq!(said("100", "mg/dL", "mmol/L", ""), "the units measure different things");
        assert_eq!(
            said("1", "mg/L FEU", "ng/mL DDU", ""),
            "the units measure different things"
        );
        assert_eq!(said("1", "mg/L FEU", "mg/L", ""), "the units measure different things");
        assert_eq!(said("1", "mg/L FEU", "ng/mL FEU", ""), "1000 ng{FEU}/mL");
        assert_eq!(said("5.6", "Ｇ／Ｌ", "10^9/L", ""), "5.6 10*9/L");
        assert_eq!(said("5.6", "G/l", "K/cumm", ""), "5.6 10*3/uL");
        assert_eq!(said("35", "G/L", "g/dL", ""), "3.5 g/dL");
        assert_eq!(said("3.5", "g/dL", "G/L", ""), "35 g/L");
        assert_eq!(said("5.6", "G/L", "G/L", ""), "5.6 10*9/L");
        assert_eq!(
            said("4", "log10 copies/mL", "copies/mL", ""),
            "the units measure different things"
        );
        assert_eq!(said("4", "lg IU/mL", "log10(IU/mL)", ""), "4 {Log_IU}/mL");
        assert_eq!(said("13.5", "gm%", "g/L", ""), "135 g/L");
        assert_eq!(said("25", "ug/mg Cr", "mg/g", ""), "25 mg/g");
        assert_eq!(said("2", "lakhs/cumm", "10^9/L", ""), "200 10*9/L");
        assert_eq!(said("120", "mmH2O", "cmH2O", ""), "12 cm[H2O]");
        assert_eq!(said("5e-12", "mol/L", "pmol/L", ""), "5 pmol/L");
        let small = "the result is not 0, and smaller than ten digits after the point hold";
        assert_eq!(said("5", "pmol/L", "mol/L", ""), small);
        assert!(said("1", "nonsense", "mg", "").contains("nonsense"));
        assert!(said("1", "mg", "g", "nobody").contains("nobody"));
        let strict = Tables::new(None, None).unwrap();
        assert!(strict.convert(&Ratio::one(), "K/uL", "10*9/L", "").is_err());
    }
}
