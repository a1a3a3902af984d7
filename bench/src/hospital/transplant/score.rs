//! The scores of a patient with liver disease, reckoned from what is true of the patient.
//!
//! MELD and MELD-Na: OPTN Policy 9.1.D as of January 2016 (OPTN/UNOS policy notice 11/2015, Kamath et al., Hepatology
//! 2001; 33: 464-470). Child-Pugh: Pugh et al., Br J Surg 1973; 60: 646-649, with INR in place of seconds and 28 g/L as
//! the lower limit of albumin.

/// What the scores are made of; None: nobody recorded it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// mg/dL.
    pub bilirubin: Option<f64>,
    /// International normalized ratio.
    pub inr: Option<f64>,
    /// mg/dL.
    pub creatinine: Option<f64>,
    /// mmol/L.
    pub sodium: Option<f64>,
    /// g/L.
    pub albumin: Option<f64>,
    /// Dialyses in the seven days before.
    pub dialyses: Option<i64>,
    /// 0 none, 1 slight, 2 moderate, 3 gross.
    pub ascites: Option<usize>,
    /// 0 none, 1 to 4 West Haven grades.
    pub encephalopathy: Option<usize>,
}

impl Inputs {
    /// MELD without sodium, 6 to 40.
    pub fn meld(&self) -> Option<i64> {
        Some(self.initial()?.min(40.0) as i64)
    }

    /// MELD with sodium, 6 to 40. Sodium counts above 11 only.
    pub fn meld_na(&self) -> Option<i64> {
        let initial = self.initial()?;
        if initial <= 11.0 {
            return Some(initial as i64);
        }
        let lack = 137.0 - self.sodium?.clamp(125.0, 137.0);
        let score = initial + 1.32 * lack - 0.033 * initial * lack;
        Some(score.round().min(40.0) as i64)
    }

    /// MELD(i) of the policy: whole, not capped.
    fn initial(&self) -> Option<f64> {
        let creatinine = match (self.creatinine, self.dialyses) {
            (_, Some(2..)) => 4.0,
            (Some(creatinine), _) if creatinine >= 4.0 => 4.0,
            (Some(creatinine), Some(_)) => creatinine.max(1.0),
            _ => return None,
        };
        let (bilirubin, inr) = (self.bilirubin?.max(1.0), self.inr?.max(1.0));
        let score = 0.957 * creatinine.ln() + 0.378 * bilirubin.ln() + 1.120 * inr.ln() + 0.643;
        Some((score * 10.0).round())
    }

    /// Child-Pugh points, 5 to 15.
    pub fn child_pugh(&self) -> Option<i64> {
        let of = |value: f64, two: f64, three: f64| 1 + i64::from(value >= two) + i64::from(value > three);
        let albumin = self.albumin?;
        Some(
            of(self.bilirubin?, 2.0, 3.0)
                + of(self.inr?, 1.7, 2.3)
                + (1 + i64::from(albumin <= 35.0) + i64::from(albumin < 28.0))
                + [1, 2, 3, 3].get(self.ascites?)?
                + [1, 2, 2, 3, 3].get(self.encephalopathy?)?,
        )
    }

    /// What MELD, MELD-Na and Child-Pugh lack, by name.
    pub fn missing(&self) -> [Vec<&'static str>; 3] {
        let none = |name, missing: bool| missing.then_some(name);
        let blood = [
            none("bilirubin", self.bilirubin.is_none()),
            none("inr", self.inr.is_none()),
        ];
        let dialysed = self.dialyses.is_some_and(|n| n >= 2);
        let high = self.creatinine.is_some_and(|c| c >= 4.0);
        let kidneys = [
            none("creatinine", self.creatinine.is_none() && !dialysed),
            none("dialysis", self.dialyses.is_none() && !high),
        ];
        let sodium = none(
            "sodium",
            self.sodium.is_none() && self.initial().is_some_and(|m| m > 11.0),
        );
        let seen = [
            none("albumin", self.albumin.is_none()),
            none("ascites", self.ascites.is_none()),
            none("encephalopathy", self.encephalopathy.is_none()),
        ];
        let meld: Vec<_> = blood.iter().chain(&kidneys).flatten().copied().collect();
        let meld_na = meld.iter().copied().chain(sodium).collect();
        [meld, meld_na, blood.into_iter().chain(seen).flatten().collect()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(bilirubin: f64, inr: f64, creatinine: f64, sodium: f64, dialyses: i64) -> Inputs {
        Inputs {
            bilirubin: Some(bilirubin),
            inr: Some(inr),
            creatinine: Some(creatinine),
            sodium: Some(sodium),
            dialyses: Some(dialyses),
            ..Inputs::default()
        }
    }

    /// Reckoned by hand from the policy's text.
    #[test]
    fn scores_follow_the_policy() {
        let of = |i: Inputs| (i.meld(), i.meld_na());
        assert_eq!(of(inputs(0.4, 0.9, 0.5, 140.0, 0)), (Some(6), Some(6)), "the least");
        assert_eq!(of(inputs(1.5, 1.5, 1.0, 135.0, 0)), (Some(13), Some(15)));
        assert_eq!(
            of(inputs(1.0, 1.0, 1.7, 120.0, 0)),
            (Some(12), Some(23)),
            "sodium is taken as 125"
        );
        assert_eq!(
            of(inputs(1.0, 1.0, 1.6, 120.0, 0)),
            (Some(11), Some(11)),
            "sodium counts above 11"
        );
        assert_eq!(
            of(inputs(1.0, 1.0, 0.8, 140.0, 2)),
            (Some(20), Some(20)),
            "dialysis: 4 mg/dL"
        );
        assert_eq!(
            of(inputs(1.0, 1.0, 9.0, 140.0, 1)),
            (Some(20), Some(20)),
            "never more than 4 mg/dL"
        );
        assert_eq!(of(inputs(40.0, 6.0, 4.0, 128.0, 0)), (Some(40), Some(40)), "the most");
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let known = inputs(3.0, 1.7, 1.0, 130.0, 0);
        assert_eq!(known.child_pugh(), None);
        assert_eq!(known.missing()[2], ["albumin", "ascites", "encephalopathy"]);
        let unknown = Inputs {
            dialyses: None,
            ..known.clone()
        };
        assert_eq!(
            (unknown.meld(), unknown.missing()[0].as_slice()),
            (None, &["dialysis"][..])
        );
        let high = Inputs {
            creatinine: Some(4.2),
            ..unknown
        };
        assert!(high.meld().is_some() && high.missing()[0].is_empty());
        let seen = Inputs {
            albumin: Some(28.0),
            ascites: Some(2),
            encephalopathy: Some(2),
            ..known
        };
        assert_eq!(seen.child_pugh(), Some(2 + 2 + 2 + 3 + 2));
    }
}
