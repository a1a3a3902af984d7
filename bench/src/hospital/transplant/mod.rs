//! The transplant service of the sample hospital: admissions, a laboratory that writes SI units and one that does not,
//! evaluations, the registry of operations, orders of drugs, follow-ups.

mod course;
mod labs;
mod score;
mod truth;

use super::{Options, clock::compact, drops::Drop, faults::Broken, hl7::Messages, text::csv};
use course::{ASCITES, Course, ENCEPHALOPATHY};
use std::{fs, io, path::Path};
use truth::WeekTruth;

const SURGERY: &str = "住院号,病案号,手术时间,术式,供肝类型,冷缺血时间,手术时长,出血量,术者";
const EVALUATION: &str = "评估号,病案号,住院号,评估时间,腹水,肝性脑病,近7天透析次数";
const ORDERS: &str = "医嘱号,病案号,住院号,药品名称,剂量,单位,途径,开始时间,停止时间,更新时间";
const FOLLOW_UP: &str = "随访号,病案号,住院号,随访日期,患者状态,移植物状态,更新时间";

/// Writes `week1`, `week2`, … into `out`, and the truth to a file.
///
/// # Errors
/// When a file cannot be written.
pub fn generate(options: &Options, out: &Path, truth: &Path) -> io::Result<()> {
    let weeks = (0..options.weeks)
        .map(|week| write_week(options, out, week))
        .collect::<io::Result<Vec<WeekTruth>>>()?;
    let mut file = io::BufWriter::new(fs::File::create(truth)?);
    truth::write(options, &weeks, &mut file)?;
    io::Write::flush(&mut file)
}

fn write_week(options: &Options, out: &Path, week: i64) -> io::Result<WeekTruth> {
    let mut files = Files {
        drop: Drop::create(out.join(format!("week{}", week + 1)))?,
        days: week * 7..week * 7 + 7,
    };
    let mut truth = WeekTruth::default();
    // Complete in every export, and so there even where nobody was operated on.
    files.begin(&format!("surgery/surgery_{}.csv", compact(week * 7 + 6)), SURGERY)?;
    for number in 0..options.patients {
        let course = Course::new(options, number);
        truth.count(&course, week);
        files.write(&course, week)?;
    }
    truth.broken = files.faults(week)?;
    truth.written = files.drop.finish()?;
    Ok(truth)
}

/// The files of one week.
struct Files {
    drop: Drop,
    days: std::ops::Range<i64>,
}

impl Files {
    /// Writes a header in Excel's UTF-8.
    fn begin(&mut self, file: &str, header: &str) -> io::Result<()> {
        self.drop.raw(file, format!("\u{feff}{header}\r\n").as_bytes())
    }

    /// Appends a row to a table in UTF-8, with its header where it is the first.
    fn row(&mut self, file: &str, header: &str, row: &[&str]) -> io::Result<()> {
        if !self.drop.begun(file) {
            self.begin(file, header)?;
        }
        *self.drop.counts.entry("rows").or_default() += 1;
        let row: Vec<_> = row.iter().map(|field| csv(field)).collect();
        self.drop.raw(file, (row.join(",") + "\r\n").as_bytes())
    }

    /// Writes what reaches the data centre in this week about one patient.
    fn write(&mut self, course: &Course, week: i64) -> io::Result<()> {
        let patient = &course.patient;
        let (mrn, visit) = (patient.mrn.as_str(), course.visit().no.as_str());
        let days = self.days.clone();
        for message in Messages::of(patient).admissions() {
            if days.contains(&message.arrives) {
                let file = format!("hl7/adt_{}.hl7", compact(message.arrives));
                self.drop.message(&file, &message.text)?;
            }
        }
        for sample in &course.samples {
            for report in sample.reports.iter().filter(|r| days.contains(&r.arrives)) {
                let file = format!("lis/lis_{}.csv", compact(report.arrives));
                for result in &report.results {
                    let (taken, said) = (sample.taken.slashes(), report.said.iso());
                    let (no, name) = (sample.no.as_str(), result.lab.name);
                    let row = [
                        mrn,
                        no,
                        visit,
                        name,
                        &result.text,
                        result.unit,
                        result.range,
                        &taken,
                        &said,
                    ];
                    let row = row.map(csv).join(",");
                    self.drop.lis_row(&file, &(row + "\r\n"))?;
                }
            }
        }
        let last = compact(week * 7 + 6);
        for evaluation in course.evaluations.iter().filter(|e| days.contains(&e.at.day())) {
            let word = |words: &[&'static str], n: Option<usize>| n.and_then(|n| words.get(n).copied()).unwrap_or("");
            let dialyses = evaluation.dialyses.map_or_else(String::new, |n| n.to_string());
            self.row(
                &format!("evaluation/evaluation_{last}.csv"),
                EVALUATION,
                &[
                    &evaluation.no,
                    mrn,
                    visit,
                    &evaluation.at.iso(),
                    word(&ASCITES, evaluation.ascites),
                    word(&ENCEPHALOPATHY, evaluation.encephalopathy),
                    &dialyses,
                ],
            )?;
        }
        if let Some(o) = truth::registered(course, week) {
            let numbers = [o.ischaemia, o.minutes, o.blood].map(|n| n.to_string());
            let [ischaemia, minutes, blood] = &numbers;
            let at = o.at.iso();
            self.row(
                &format!("surgery/surgery_{last}.csv"),
                SURGERY,
                &[visit, mrn, &at, o.name, o.donor, ischaemia, minutes, blood, o.surgeon],
            )?;
        }
        for drug in &course.drugs {
            let [name, dose, unit, route] = drug.what;
            let stopped = drug.until.map_or_else(String::new, |at| at.iso());
            // Ordered, and told again when it is stopped.
            let told = [(Some(drug.from), ""), (drug.until, stopped.as_str())];
            for (at, until) in told.into_iter().filter_map(|(at, until)| Some((at?, until))) {
                if days.contains(&at.day()) {
                    let (from, at) = (drug.from.iso(), at.iso());
                    self.row(
                        &format!("orders/orders_{last}.csv"),
                        ORDERS,
                        &[&drug.no, mrn, visit, name, dose, unit, route, &from, until, &at],
                    )?;
                }
            }
        }
        for follow_up in &course.follow_ups {
            for (at, patient, graft) in follow_up.said.iter().filter(|(at, ..)| days.contains(&at.day())) {
                let day = super::clock::dashed(follow_up.day);
                self.row(
                    &format!("followup/followup_{last}.csv"),
                    FOLLOW_UP,
                    &[&follow_up.no, mrn, visit, &day, patient, graft, &at.iso()],
                )?;
            }
        }
        Ok(())
    }

    /// Broken records among good ones: each must end in quarantine, and nothing else of its file with it.
    fn faults(&mut self, week: i64) -> io::Result<Vec<Broken>> {
        let day = compact(week * 7 + 1 + week % 3);
        let lis = format!("lis/lis_{day}.csv");
        let (row, what) = match week % 3 {
            0 => (
                "99999992,S9999992,ZY99999992,钠,139.0,mmol/L,137.0-147.0\r\n",
                "a row with two fields too few",
            ),
            1 => (
                ",S9999993,ZY99999993,钠,139.0,mmol/L,137.0-147.0,2026/3/11 6:10,2026-03-11 10:40\r\n",
                "a row without a patient's number",
            ),
            _ => (
                "99999994,S9999994,ZY99999994,钠,\"139.0,mmol/L,137.0-147.0\r\n",
                "a quote that is never closed",
            ),
        };
        self.drop.lis_row(&lis, row)?;
        Ok(vec![Broken {
            file: format!("week{}/{lis}", week + 1),
            what,
        }])
    }
}
