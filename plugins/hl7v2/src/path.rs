//! Paths into a message: `PID-3.1`, `PID-3[2].4.1`, `OBX-5`.

use std::str::FromStr;

/// A place in a segment (HL7 v2.5, section 2.5: fields, repetitions, components, subcomponents; all counted from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Segment id, such as `PID`.
    pub segment: [u8; 3],
    /// Field number. In `MSH`, 1 is the field separator itself.
    pub field: u16,
    /// Repetition; 0 where the path names none: the whole field without a component, else the first repetition.
    pub repetition: u16,
    /// Component; 0: the whole repetition or field, with its separators.
    pub component: u16,
    /// Subcomponent; 0: the whole component.
    pub subcomponent: u16,
}

/// Why a text is no path, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

const HINT: &str = "write SEGMENT-FIELD[REPETITION].COMPONENT.SUBCOMPONENT, such as PID-3.1 or PID-3[2].4.1";

impl Path {
    /// A whole field.
    pub const fn of_field(segment: [u8; 3], field: u16) -> Self {
        Self {
            segment,
            field,
            repetition: 0,
            component: 0,
            subcomponent: 0,
        }
    }

    /// A component of a field's first repetition.
    pub const fn of_component(segment: [u8; 3], field: u16, component: u16) -> Self {
        Self {
            segment,
            field,
            repetition: 0,
            component,
            subcomponent: 0,
        }
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let error = |message: &str, hint: &str| PathError {
            message: message.to_owned(),
            hint: hint.to_owned(),
        };
        let Some((segment, rest)) = text.split_once('-') else {
            let dashed = text.replacen('.', "-", 1);
            return Err(if dashed != text && dashed.parse::<Self>().is_ok() {
                error("a path has a minus between segment and field", &suggest(&dashed))
            } else {
                error("this is not a path", HINT)
            });
        };
        let segment = segment_id(segment).map_err(|mut error| {
            if let Some(name) = error
                .hint
                .strip_prefix("did you mean ")
                .map(|s| s.trim_end_matches('?').to_owned())
            {
                error.hint = suggest(&format!("{name}-{rest}"));
            }
            error
        })?;
        let (field, rest) = number(rest).ok_or_else(|| error("the field number is missing", HINT))?;
        let (repetition, rest) = match rest.strip_prefix('[') {
            Some(inner) => {
                let (n, rest) = number(inner).ok_or_else(|| error("the repetition is not a number", HINT))?;
                (
                    n,
                    rest.strip_prefix(']')
                        .ok_or_else(|| error("the repetition lacks its closing bracket", HINT))?,
                )
            }
            None => (0, rest),
        };
        let mut parts = [0; 2];
        let mut rest = rest;
        for part in &mut parts {
            let Some(inner) = rest.strip_prefix('.') else { break };
            let (n, after) = number(inner).ok_or_else(|| error("a component is not a number", HINT))?;
            (*part, rest) = (n, after);
        }
        if !rest.is_empty() {
            return Err(error("something follows the path", HINT));
        }
        Ok(Self {
            segment,
            field,
            repetition,
            component: parts[0],
            subcomponent: parts[1],
        })
    }
}

/// Reads a segment id: one of the standard, or a site's own that begins with `Z`.
///
/// # Errors
/// When there is no such segment.
pub fn segment_id(text: &str) -> Result<[u8; 3], PathError> {
    let upper = text.to_ascii_uppercase();
    let bytes: Option<[u8; 3]> = upper.as_bytes().try_into().ok();
    match bytes {
        Some(id) if is_known(id) && upper == text => Ok(id),
        Some(id) if is_known(id) => Err(PathError {
            message: "segment names are upper case".into(),
            hint: suggest(&upper),
        }),
        _ => Err(PathError {
            message: "there is no such segment".into(),
            hint: bytes.and_then(nearest).map_or_else(
                || "segments are named by three characters, such as PID, PV1, OBX or a site's own ZXX".to_owned(),
                |id| suggest(&String::from_utf8_lossy(&id)),
            ),
        }),
    }
}

/// True where a text begins like a path: such a text is never taken for a literal.
pub fn looks_like_path(text: &str) -> bool {
    text.split_once('-')
        .is_some_and(|(segment, rest)| rest.starts_with(|c: char| c.is_ascii_digit()) && segment_id(segment).is_ok())
}

fn suggest(text: &str) -> String {
    format!("did you mean {text}?")
}

fn number(text: &str) -> Option<(u16, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let n = text.get(..digits)?.parse().ok()?;
    (n > 0 && n < 1000).then_some((n, text.get(digits..)?))
}

fn is_known(id: [u8; 3]) -> bool {
    let site = id[0] == b'Z' && id.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    site || SEGMENTS.split_ascii_whitespace().any(|name| name.as_bytes() == id)
}

/// The known segment that has the same letters in another order, or differs in one letter.
fn nearest(id: [u8; 3]) -> Option<[u8; 3]> {
    let sorted = |mut id: [u8; 3]| {
        id.sort_unstable();
        id
    };
    let known = || {
        SEGMENTS
            .split_ascii_whitespace()
            .filter_map(|name| <[u8; 3]>::try_from(name.as_bytes()).ok())
    };
    known()
        .find(|k| sorted(*k) == sorted(id))
        .or_else(|| known().find(|k| k.iter().zip(&id).filter(|(a, b)| a == b).count() == 2))
}

/// Segments of HL7 v2.1 to v2.9 (v2.9, appendix A), the common ones first so that hints prefer them.
const SEGMENTS: &str = "PID PV1 OBX OBR ORC MSH EVN PD1 PV2 NTE DG1 AL1 NK1 IN1 IN2 IN3 PR1 SPM MRG RXA RXE RXO RXR RXD \
    RXG RXC RXV TQ1 TQ2 GT1 ROL ACC ARV ABS ADD ADJ AFF AIG AIL AIP AIS APR AUT BHS BLC BLG BPO BPX BTS BTX BUI CDM \
    CDO CER CM0 CM1 CM2 CNS CON CSP CSR CSS CTD CTI CTR DB1 DEV DMI DON DPS DRG DSC DSP DST ECD ECR EDU EQL EQP EQU \
    ERQ ERR FAC FHS FT1 FTS GOL GP1 GP2 HXX IAM IAR IIM ILT INV IPC IPR ISD ITM IVC IVT LAN LCC LCH LDP LOC LRL MCP \
    MFA MFE MFI MSA NCK NDS NPU NSC NST OBD ODS ODT OH1 OH2 OH3 OH4 OM1 OM2 OM3 OM4 OM5 OM6 OM7 OM8 OMC ORG ORO OVR \
    PAC PAD PCE PCR PDA PDC PEO PES PKG PM1 PMT PRA PRB PRC PRD PRT PSD PSG PSH PSL PSS PTH PYE QAK QID QPD QRD QRF \
    QRI RCP RDF RDT REL RF1 RFI RGS RMI RQ1 RQD SAC SCD SCH SCP SDD SFT SGH SGT SHP SID SLT STF STZ TCC TCD TXA UAC \
    UB1 UB2 URD URS VAR VND VTQ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let path: Path = "PID-3[2].4.1".parse().unwrap();
        assert_eq!(
            path,
            Path {
                segment: *b"PID",
                field: 3,
                repetition: 2,
                component: 4,
                subcomponent: 1
            }
        );
        assert_eq!("OBX-5".parse::<Path>().unwrap(), Path::of_field(*b"OBX", 5));
        assert_eq!("ZXY-12.3".parse::<Path>().unwrap(), Path::of_component(*b"ZXY", 12, 3));
    }

    #[test]
    fn hints() {
        let hint = |text: &str| text.parse::<Path>().unwrap_err().hint;
        assert_eq!(hint("PDI-3.1"), "did you mean PID-3.1?");
        assert_eq!(hint("OBY-3"), "did you mean OBX-3?");
        assert_eq!(hint("pid-3"), "did you mean PID-3?");
        assert_eq!(hint("PID.3.1"), "did you mean PID-3.1?");
        for wrong in [
            "",
            "PID",
            "PID-",
            "PID-x",
            "PID-0",
            "PID-3.",
            "PID-3[1",
            "PID-3[0]",
            "PID-3.1.1.1",
            "病-3",
        ] {
            assert!(wrong.parse::<Path>().is_err(), "{wrong}");
        }
        assert!(looks_like_path("PID-3.4") && !looks_like_path("MRN-1") && !looks_like_path("HOSP A"));
    }
}
