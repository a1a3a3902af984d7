//! Patients and their visits: what happened in the sample hospital, before any system writes it down.

use super::{Options, clock::Minute, rng::Rng, words::WORDS};
use std::ops::Range;

/// The incidents that the sample must hold: every patient whose number modulo 24 is below 12 has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Arrived unnamed under a temporary number, later merged into the real one (A40).
    Merged,
    /// A result in HL7 is corrected a week later (OBX-11 `C`).
    CorrectedHl7,
    /// A row of the laboratory's CSV comes again with another value and a later report time.
    CorrectedLis,
    /// Results of week 1 arrive in week 3.
    Late,
    /// A result was posted for the wrong patient (OBX-11 `W`).
    Wrong,
    /// A result is deleted (OBX-11 `D`).
    Deleted,
    /// The correction arrives before what it corrects.
    OutOfOrder,
    /// The admission is cancelled (A11).
    AdmissionCancelled,
    /// The discharge is cancelled (A13), and made again.
    DischargeCancelled,
    /// The row in the registry vanishes from the third export on.
    Vanished,
    /// The row in the registry changes in the second export; a second visit follows.
    Changed,
    /// Has a note that is equal, byte for byte, to another patient's.
    SameNote,
    /// Nothing special.
    Plain,
}

impl Role {
    const ALL: [Self; 12] = [
        Self::Merged,
        Self::CorrectedHl7,
        Self::CorrectedLis,
        Self::Late,
        Self::Wrong,
        Self::Deleted,
        Self::OutOfOrder,
        Self::AdmissionCancelled,
        Self::DischargeCancelled,
        Self::Vanished,
        Self::Changed,
        Self::SameNote,
    ];

    /// The role of a patient and the day of the first admission that the incident needs.
    fn of(patient: u64) -> (Self, Option<i64>) {
        const FIRST_DAYS: [i64; 12] = [0, 1, 0, 1, 7, 8, 0, 13, 7, 0, 0, 14];
        let place = usize::try_from(patient % 24).unwrap_or(0);
        match (Self::ALL.get(place), FIRST_DAYS.get(place)) {
            (Some(role), Some(day)) => (*role, Some(*day)),
            _ => (Self::Plain, None),
        }
    }
}

/// A patient.
pub struct Patient {
    /// Number, from 0.
    pub index: u64,
    /// The incident.
    pub role: Role,
    /// First day of the week in which the patient's story begins.
    pub start: i64,
    /// The number that stays.
    pub mrn: String,
    /// The number used until the merge.
    pub temporary: Option<String>,
    /// Full name.
    pub name: String,
    /// `M` or `F`.
    pub sex: char,
    /// `19530412`.
    pub birth: String,
    /// Years at the first admission.
    pub age: i64,
    /// Resident identity number; its check digit is wrong on purpose, so that it is nobody's.
    pub national_id: String,
    /// Telephone; the numbers 170 0000 xxxx are nobody's.
    pub phone: String,
    /// Street with number.
    pub street: String,
    /// Street with number after a move, told by an A08.
    pub moved_to: Option<String>,
    /// Province, city, district, postal code.
    pub place: [&'static str; 4],
    /// Where the patient lies.
    pub ward: &'static Ward,
    /// Code and name of the diagnosis at admission, as DG1-3 has them.
    pub diagnosis: [&'static str; 2],
    /// The visits, by time.
    pub visits: Vec<Visit>,
}

/// A ward of the hospital.
pub struct Ward {
    /// Point of care and floor, for PV1-3.
    pub place: &'static str,
    /// Hospital service, for PV1-10.
    pub service: &'static str,
}

/// The ward of the stenting service; the second bytes of its name are delimiters of HL7.
const STENTING: Ward = Ward {
    place: "神經介入診區^億達樓3層",
    service: "NI",
};

/// The day of the merge, counted from [`Patient::start`].
pub const MERGE_DAY: i64 = 8;

/// A stay in hospital.
pub struct Visit {
    /// Visit number.
    pub no: String,
    /// Admission.
    pub admitted: Minute,
    /// Cancellation of the admission (A11).
    pub cancelled: Option<Minute>,
    /// The operation.
    pub operation: Option<Operation>,
    /// Discharges: time said, and from when to when it held (its cancellation by A13).
    pub discharges: Vec<Discharge>,
    /// Bed.
    pub bed: i64,
    /// Attending doctor.
    pub doctor: &'static str,
}

/// A discharge, and its cancellation.
pub struct Discharge {
    /// When.
    pub at: Minute,
    /// When it was cancelled (A13).
    pub cancelled: Option<Minute>,
}

/// Stenting of a carotid artery.
pub struct Operation {
    /// Start.
    pub at: Minute,
    /// 左 or 右.
    pub side: &'static str,
    /// Degree of stenosis by NASCET, percent.
    pub stenosis: i64,
    /// Residual stenosis, percent.
    pub residual: i64,
    /// Stent model.
    pub stent: &'static str,
    /// Stent size, `8×40mm` or tapered `7-10×40mm`.
    pub size: &'static str,
    /// Embolic protection.
    pub protection: &'static str,
    /// What went wrong; None: nothing.
    pub complication: Option<&'static str>,
    /// Surgeon.
    pub surgeon: &'static str,
}

const STENTS: [(&str, &[&str]); 4] = [
    ("Wallstent", &["7×40mm", "8×30mm", "9×40mm"]),
    ("Precise", &["7×40mm", "8×40mm", "9×30mm"]),
    ("Acculink", &["7-10×40mm", "6-8×40mm"]),
    ("Protégé RX", &["8-6×40mm", "10-7×40mm"]),
];
const PROTECTIONS: [&str; 4] = ["SpiderFX 5mm", "FilterWire EZ", "Angioguard 6mm", "Emboshield NAV6"];
const COMPLICATIONS: [&str; 5] = [
    "术中心率下降至42次/分，予阿托品0.5mg后恢复",
    "术后低血压，多巴胺泵入18小时",
    "穿刺点皮下血肿，直径约3cm",
    "一过性右侧肢体无力，2小时内缓解",
    "高灌注相关头痛",
];

impl Patient {
    /// The patient of this number, always the same for the same options.
    pub fn new(options: &Options, index: u64) -> Self {
        let mut rng = Rng::of(options.seed, &[1, index]);
        let (role, day) = Role::of(index);
        let days = options.weeks * 7;
        // Incidents need three weeks: with more weeks they are spread over all beginnings that leave as many.
        let start = 7 * (i64::try_from(index / 24).unwrap_or(0) % (options.weeks - 2).max(1));
        let first = day.map_or_else(|| rng.range(0, (days - 2).max(1)), |day| (start + day) % days);
        let mut patient = Self::admitted(&mut rng, index, 1938..1968, &STENTING, ["I65.2", "颈动脉闭塞和狭窄"]);
        (patient.role, patient.start) = (role, start);
        patient.temporary = (role == Role::Merged).then(|| format!("T{:07}", 900_000 + index));
        patient.moved_to = patient.moved_to.filter(|_| role != Role::AdmissionCancelled);
        patient.visits.push(patient.visit(options, 0, first));
        let again = role == Role::Changed || (index >= 12 && index % 8 == 5);
        if again && first + 14 < days {
            patient.visits.push(patient.visit(options, 1, first + 14));
        }
        patient
    }

    /// Somebody born in these years, with a diagnosis and a ward, and nothing else yet: no incident and no visit.
    pub fn admitted(
        rng: &mut Rng,
        index: u64,
        born: Range<i64>,
        ward: &'static Ward,
        diagnosis: [&'static str; 2],
    ) -> Self {
        let sex = if rng.one_in(4) { 'F' } else { 'M' };
        let year = rng.range(born.start, born.end);
        let birth = format!("{year}{:02}{:02}", rng.range(1, 13), rng.range(1, 29));
        let place = *rng.pick(&WORDS.places);
        let national_id = format!("9{:05}{birth}{:03}", rng.range(0, 100_000), rng.range(0, 1_000));
        Self {
            index,
            role: Role::Plain,
            start: 0,
            mrn: format!("{:08}", 20_000_000 + index * 7 + 3),
            temporary: None,
            name: name(rng, index),
            sex,
            // Complete years on the first day of the first week.
            age: 2026 - year - i64::from(birth.get(4..).is_some_and(|day| day > "0302")),
            national_id: format!("{national_id}{}", wrong_check(&national_id)),
            birth,
            phone: format!("1700000{:04}", rng.range(0, 10_000)),
            street: street(rng),
            moved_to: (index % 3 == 1).then(|| street(rng)),
            place,
            ward,
            diagnosis,
            visits: Vec::new(),
        }
    }

    fn visit(&self, options: &Options, number: u64, day: i64) -> Visit {
        let mut rng = Rng::of(options.seed, &[2, self.index, number]);
        let admitted = Minute::at(day, rng.range(8, 12), rng.range(0, 60));
        let cancelled = (self.role == Role::AdmissionCancelled).then(|| Minute::at(day + 1, 9, 10));
        let operated = day + 2 + i64::from(rng.one_in(3));
        let operation = cancelled.is_none().then(|| operation(&mut rng, operated, number));
        let left = Minute::at(operated + 2 + rng.range(0, 2), rng.range(9, 15), rng.range(0, 60));
        let discharges = match (self.role, cancelled) {
            (_, Some(_)) => Vec::new(),
            (Role::DischargeCancelled, _) => vec![
                Discharge {
                    at: Minute::at(day + 6, 10, 20),
                    cancelled: Some(Minute::at(day + 7, 8, 15)),
                },
                Discharge {
                    at: Minute::at(day + 10, 11, 0),
                    cancelled: None,
                },
            ],
            _ => vec![Discharge {
                at: left,
                cancelled: None,
            }],
        };
        Visit {
            no: self.visit_no(number),
            admitted,
            cancelled,
            operation,
            discharges,
            bed: rng.range(1, 49),
            doctor: rng.pick::<&str>(&WORDS.doctors),
        }
    }

    /// The number of the patient's first visit (0), the second (1), …
    pub fn visit_no(&self, number: u64) -> String {
        format!("ZY26{:07}{}", self.index + 1_001, number + 1)
    }

    /// The number that systems use for the patient at this time.
    pub fn mrn_at(&self, time: Minute) -> &str {
        match &self.temporary {
            Some(temporary) if time < self.merged_at() => temporary,
            _ => &self.mrn,
        }
    }

    /// When the numbers are merged, for [`Role::Merged`].
    pub fn merged_at(&self) -> Minute {
        Minute::at(self.start + MERGE_DAY, 15, 30)
    }
}

fn name(rng: &mut Rng, index: u64) -> String {
    let words = &*WORDS;
    // Every fourth patient has a character that a careless parser splits.
    let rare = index % 4 == 2;
    let family = if rare && rng.one_in(2) {
        rng.pick(&words.surnames_rare)
    } else {
        rng.pick(&words.surnames)
    };
    let second = if rare {
        rng.pick(&words.given_rare)
    } else {
        rng.pick(&words.given_second)
    };
    format!("{family}{}{second}", rng.pick(&words.given_first))
}

fn street(rng: &mut Rng) -> String {
    format!(
        "{}{}号{}栋{}室",
        rng.pick(&WORDS.streets),
        rng.range(1, 300),
        rng.range(1, 20),
        rng.range(101, 1_900)
    )
}

/// A check character that GB 11643 does not give.
fn wrong_check(digits: &str) -> char {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits
        .bytes()
        .zip(WEIGHTS)
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    // The right one is 1 - sum modulo 11, with X for 10: take the next digit.
    char::from_digit((12 - sum % 11 + 1) % 11 % 10, 10).unwrap_or('0')
}

fn operation(rng: &mut Rng, day: i64, number: u64) -> Operation {
    let left = rng.one_in(2) != (number == 1);
    let (stent, sizes) = rng.pick(&STENTS);
    Operation {
        at: Minute::at(day, rng.range(9, 16), rng.range(0, 60)),
        side: if left { "左" } else { "右" },
        stenosis: rng.range(60, 99),
        residual: rng.range(0, 25),
        stent,
        size: rng.pick::<&str>(sizes),
        protection: rng.pick::<&str>(&PROTECTIONS),
        complication: rng.one_in(4).then(|| *rng.pick::<&str>(&COMPLICATIONS)),
        surgeon: rng.pick::<&str>(&WORDS.doctors),
    }
}
