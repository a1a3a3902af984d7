//! What happens to a patient of the transplant service: evaluation, blood samples, operation, drugs, follow-up.

use super::{
    super::{
        Options,
        clock::Minute,
        people::{Discharge, Patient, Visit, Ward},
        rng::Rng,
        words::WORDS,
    },
    labs::{Illness, Report, Result, Sample},
};

/// The incidents that the sample must hold: one for each number of patient modulo 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// The last creatinine before the operation is corrected a week later.
    Corrected,
    /// The last sample before the operation arrives in week 3.
    Late,
    /// The last bilirubin before the operation has no number: the sample was haemolysed.
    Haemolysed,
    /// The last creatinine before the operation is only said to be above a bound.
    Bounded,
    /// Dialysed three times in the week before.
    Dialysed,
    /// Nobody recorded whether the patient was dialysed.
    DialysisUnknown,
    /// Nobody recorded ascites and encephalopathy.
    SignsUnknown,
    /// INR was never measured.
    NoInr,
    /// Evaluated, not operated on.
    Waiting,
    /// Evaluated in week 1, operated on in week 3.
    OperatedLater,
    /// What the follow-up says changes.
    FollowUpChanged,
    /// The registry takes the operation back in week 3.
    Vanished,
    /// A creatinine has the unit of something else; it is no result.
    WrongUnit,
    /// The admission is cancelled (A11).
    AdmissionCancelled,
    /// The evaluation is done again, with other findings.
    EvaluatedAgain,
    /// Nothing special.
    Plain,
}

const INCIDENTS: [(Incident, i64); 16] = [
    (Incident::Corrected, 0),
    (Incident::Late, 1),
    (Incident::Haemolysed, 2),
    (Incident::Bounded, 3),
    (Incident::Dialysed, 0),
    (Incident::DialysisUnknown, 7),
    (Incident::SignsUnknown, 8),
    (Incident::NoInr, 9),
    (Incident::Waiting, 10),
    (Incident::OperatedLater, 2),
    (Incident::FollowUpChanged, 1),
    (Incident::Vanished, 3),
    (Incident::WrongUnit, 8),
    (Incident::AdmissionCancelled, 5),
    (Incident::EvaluatedAgain, 0),
    (Incident::Plain, 13),
];

/// A patient with everything that happens.
pub struct Course {
    /// The patient, with one visit.
    pub patient: Patient,
    /// The incident.
    pub incident: Incident,
    /// Evaluations for transplantation, by time.
    pub evaluations: Vec<Evaluation>,
    /// Blood samples, by time.
    pub samples: Vec<Sample>,
    /// The operation.
    pub operation: Option<Operation>,
    /// Drugs.
    pub drugs: Vec<Drug>,
    /// Follow-ups, by time.
    pub follow_ups: Vec<FollowUp>,
}

/// An evaluation.
pub struct Evaluation {
    /// 评估号.
    pub no: String,
    /// When.
    pub at: Minute,
    /// Index into [`ASCITES`].
    pub ascites: Option<usize>,
    /// Index into [`ENCEPHALOPATHY`].
    pub encephalopathy: Option<usize>,
    /// Dialyses in the seven days before.
    pub dialyses: Option<i64>,
}

/// A transplantation.
pub struct Operation {
    /// Start.
    pub at: Minute,
    /// What it is called.
    pub name: &'static str,
    /// Whose liver.
    pub donor: &'static str,
    /// Cold ischaemia in minutes.
    pub ischaemia: i64,
    /// Duration in minutes.
    pub minutes: i64,
    /// Loss of blood in mL.
    pub blood: i64,
    /// Surgeon.
    pub surgeon: &'static str,
}

/// A drug that was ordered.
pub struct Drug {
    /// 医嘱号.
    pub no: String,
    /// Name, dose, unit and route.
    pub what: [&'static str; 4],
    /// First dose.
    pub from: Minute,
    /// When it was stopped.
    pub until: Option<Minute>,
}

/// A follow-up after the operation.
pub struct FollowUp {
    /// 随访号.
    pub no: String,
    /// The day of it.
    pub day: i64,
    /// What was said: when, the patient's and the graft's state.
    pub said: Vec<(Minute, &'static str, &'static str)>,
}

/// Degrees of ascites, as they are written.
pub const ASCITES: [&str; 4] = ["无", "少量", "中等量", "大量"];
/// Grades of encephalopathy, as they are written.
pub const ENCEPHALOPATHY: [&str; 5] = ["无", "1期", "2期", "3期", "4期"];

const WARD: Ward = Ward {
    place: "肝移植中心^億達樓9層",
    service: "LT",
};
const DIAGNOSES: [[&str; 2]; 7] = [
    ["K74.6", "乙肝肝硬化"],
    ["K70.3", "酒精性肝硬化"],
    ["K74.6", "乙肝肝硬化"],
    ["K72.0", "慢加急性肝衰竭"],
    ["K74.3", "原发性胆汁性肝硬化"],
    ["K75.4", "自身免疫性肝炎"],
    ["K74.6", "丙肝肝硬化"],
];
/// The last one is not what any list calls it.
const OPERATIONS: [&str; 4] = ["原位肝移植", "同种异体肝移植术", "劈离式肝移植术", "背驮式肝移植术"];
/// The last one stands in no table of drugs.
const DRUGS: [[&str; 4]; 6] = [
    ["他克莫司", "2", "mg", "口服"],
    ["吗替麦考酚酯", "0.5", "g", "口服"],
    ["甲泼尼龙", "500", "mg", "静脉滴注"],
    ["巴利昔单抗", "20", "mg", "静脉注射"],
    ["恩替卡韦", "0.5", "mg", "口服"],
    ["异甘草酸镁", "150", "mg", "静脉滴注"],
];

/// Patients are numbered from here, so that they are nobody of the stenting service.
const FIRST: u64 = 1_000_000;

impl Course {
    /// The course of the patient of this number, always the same for the same options.
    pub fn new(options: &Options, number: u64) -> Self {
        let mut rng = Rng::of(options.seed, &[11, number]);
        let place = usize::try_from(number % 16).unwrap_or(0);
        let (incident, first) = INCIDENTS[place];
        // Incidents need three weeks: with more weeks they are spread over all beginnings that leave as many.
        let start = 7 * (i64::try_from(number / 16).unwrap_or(0) % (options.weeks - 2).max(1));
        let diagnosis = *rng.pick(&DIAGNOSES);
        let mut patient = Patient::admitted(&mut rng, FIRST + number, 1955..1995, &WARD, diagnosis);
        patient.start = start;
        let day = start + first;
        let admitted = Minute::at(day, rng.range(8, 12), rng.range(0, 60));
        let cancelled = (incident == Incident::AdmissionCancelled).then(|| Minute::at(day + 1, 9, 10));
        let waits = match incident {
            Incident::OperatedLater => 14,
            _ => rng.range(4, 6),
        };
        let operated = cancelled.is_none() && incident != Incident::Waiting;
        let operation = operated.then(|| operation(&mut rng, day + waits));
        // Home after one to two weeks, if the weeks of the sample last that long.
        let discharges = match &operation {
            Some(operation) => vec![Discharge {
                at: Minute::at(operation.at.day() + rng.range(8, 13), 10, rng.range(0, 60)),
                cancelled: None,
            }],
            None => Vec::new(),
        };
        patient.visits.push(Visit {
            no: patient.visit_no(0),
            admitted,
            cancelled,
            operation: None,
            discharges,
            bed: rng.range(1, 31),
            doctor: rng.pick::<&str>(&WORDS.doctors),
        });
        let mut course = Self {
            patient,
            incident,
            evaluations: Vec::new(),
            samples: Vec::new(),
            operation,
            drugs: Vec::new(),
            follow_ups: Vec::new(),
        };
        if cancelled.is_none() {
            course.evaluate(&mut rng);
            course.draw(options, &mut rng);
            course.treat(&mut rng);
            course.happen();
        }
        course
    }

    /// The visit.
    pub fn visit(&self) -> &Visit {
        &self.patient.visits[0]
    }

    fn number(&self, prefix: char, n: usize) -> String {
        format!("{prefix}{:07}{:02}", self.patient.index, n + 1)
    }

    fn evaluate(&mut self, rng: &mut Rng) {
        let at = self.visit().admitted.plus(1_440 + rng.range(0, 200));
        let known = self.incident != Incident::SignsUnknown;
        let (ascites, encephalopathy) = (rng.range(0, 4), rng.range(0, 4));
        let of = |n: i64| usize::try_from(n).ok().filter(|_| known);
        self.evaluations.push(Evaluation {
            no: self.number('P', 0),
            at,
            ascites: of(ascites),
            encephalopathy: of(encephalopathy),
            dialyses: match self.incident {
                Incident::Dialysed => Some(3),
                Incident::DialysisUnknown => None,
                _ => Some(rng.range(0, 8) / 7),
            },
        });
        if self.incident == Incident::EvaluatedAgain {
            self.evaluations.push(Evaluation {
                no: self.number('P', 1),
                at: at.plus(2 * 1_440),
                ascites: of((ascites + 1) % 4),
                encephalopathy: of((encephalopathy + 1) % 4),
                dialyses: Some(2),
            });
        }
    }

    /// Every second morning before the operation and after it, as often as is asked for.
    fn draw(&mut self, options: &Options, rng: &mut Rng) {
        let illness = Illness::new(rng);
        let day = self.visit().admitted.day();
        let mut mornings: Vec<(i64, bool)> = vec![(day + 1, false), (day + 3, false)];
        match &self.operation {
            Some(operation) => {
                let operated = operation.at.day();
                mornings.extend((day + 5..operated).step_by(2).map(|day| (day, false)));
                mornings.extend((0..options.draws.max(1) + 1).map(|n| (operated + 1 + 2 * n, true)));
            }
            None => mornings.push((day + 7, false)),
        }
        for (n, (day, operated)) in mornings.into_iter().enumerate() {
            let taken = Minute::at(day, 6, rng.range(0, 50));
            let said = taken.plus(200 + rng.range(0, 60));
            let conventional = rng.one_in(3);
            let mut results = illness.results(rng, conventional, operated);
            if self.incident == Incident::NoInr {
                results.retain(|r| r.lab.column != "inr");
            }
            self.samples.push(Sample {
                no: self.number('S', n),
                taken,
                reports: vec![Report {
                    said,
                    arrives: said.day(),
                    results,
                }],
            });
        }
    }

    fn treat(&mut self, rng: &mut Rng) {
        let Some(operation) = &self.operation else { return };
        let at = operation.at;
        let mut drugs = Vec::new();
        for (n, what) in DRUGS.into_iter().enumerate() {
            if n >= 3 && rng.one_in(2) {
                continue;
            }
            let from = at.plus(if n == 2 { 60 } else { 1_000 + rng.range(0, 300) });
            drugs.push(Drug {
                no: self.number('Y', n),
                what,
                from,
                // The steroid for three days; the others go on.
                until: (n == 2).then(|| from.plus(3 * 1_440)),
            });
        }
        let day = at.day() + 7;
        let mut said = vec![(Minute::at(day, 15, rng.range(0, 60)), "存活", "功能良好")];
        if self.incident == Incident::FollowUpChanged {
            said.push((said[0].0.plus(7 * 1_440), "存活", "排斥反应"));
        }
        self.follow_ups = vec![FollowUp {
            no: self.number('F', 0),
            day,
            said,
        }];
        self.drugs = drugs;
    }

    /// Puts the incident into the samples: into the last one before the operation.
    fn happen(&mut self) {
        let before = self.operation.as_ref().map(|o| o.at);
        let Some(last) = self
            .samples
            .iter_mut()
            .rfind(|sample| before.is_none_or(|at| sample.taken < at))
        else {
            return;
        };
        let Some(report) = last.reports.first_mut() else { return };
        let find = |results: &mut [Result], column: &str| results.iter().position(|r| r.lab.column == column);
        let bilirubin = find(&mut report.results, "bilirubin").unwrap_or(0);
        let creatinine = find(&mut report.results, "creatinine").unwrap_or(0);
        match self.incident {
            Incident::Corrected => {
                let old = &report.results[creatinine];
                let value = old.value.unwrap_or(1.0) * 1.5 + 0.2;
                let said = report.said.plus(7 * 1_440);
                let results = vec![old.lab.result(value, old.unit == old.lab.conventional.unit)];
                last.reports.push(Report {
                    said,
                    arrives: said.day(),
                    results,
                });
            }
            Incident::Late => report.arrives = self.patient.start + 16,
            Incident::Haemolysed => spoil(&mut report.results[bilirubin], "溶血".to_owned()),
            Incident::Bounded => spoil(&mut report.results[creatinine], ">1000".to_owned()),
            Incident::WrongUnit => {
                report.results[creatinine].unit = "U/L";
                report.results[creatinine].value = None;
            }
            _ => {}
        }
    }
}

fn spoil(result: &mut Result, text: String) {
    result.text = text;
    result.value = None;
}

fn operation(rng: &mut Rng, day: i64) -> Operation {
    Operation {
        at: Minute::at(day, rng.range(8, 20), rng.range(0, 60)),
        name: rng.pick::<&str>(&OPERATIONS),
        donor: rng.pick::<&str>(&["DBD", "DCD", "DBCD", "活体"]),
        ischaemia: rng.range(60, 600),
        minutes: rng.range(300, 720),
        blood: rng.range(3, 60) * 100,
        surgeon: rng.pick::<&str>(&WORDS.doctors),
    }
}
