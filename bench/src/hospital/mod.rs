//! The sample hospital: a stenting service with an admission system, a laboratory, a registry and people who write.
//!
//! What happens to each patient is reckoned from the seed and the patient's number alone, so the output streams, is
//! linear in the number of patients, and the truth is known without reading anything back.

mod assays;
mod clock;
mod drops;
mod faults;
mod hl7;
mod notes;
mod orders;
mod people;
mod rng;
mod text;
pub mod transplant;
mod truth;
mod words;

use clock::compact;
use drops::{Drop, REGISTRY_HEADER};
use hl7::Messages;
use orders::Feed;
use people::Patient;
pub use rng::Rng;
use std::{
    fs, io,
    path::Path,
    sync::atomic::{AtomicI64, Ordering},
    thread,
};
pub use text::Gb18030;
use text::csv;
use truth::{Story, WeekTruth};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number of patients.
    pub patients: u64,
    /// Number of weekly drops.
    pub weeks: i64,
    /// Same seed, same bytes.
    pub seed: u64,
    /// Blood samples after each operation; more make more data per patient.
    pub draws: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patients: 12,
            weeks: 3,
            seed: 1,
            draws: 1,
        }
    }
}

/// Writes `week1`, `week2`, … into `out`, and the truth to a file.
///
/// # Errors
/// When a file cannot be written.
pub fn generate(options: &Options, out: &Path, truth: &Path) -> io::Result<()> {
    let next = AtomicI64::new(0);
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(usize::try_from(options.weeks).unwrap_or(1));
    let mut weeks: Vec<(i64, WeekTruth)> = Vec::new();
    thread::scope(|scope| -> io::Result<()> {
        let run = || -> io::Result<Vec<(i64, WeekTruth)>> {
            let mut done = Vec::new();
            loop {
                let week = next.fetch_add(1, Ordering::Relaxed);
                if week >= options.weeks {
                    return Ok(done);
                }
                done.push((week, write_week(options, out, week)?));
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            weeks.extend(thread.join().map_err(|_| io::Error::other("a worker stopped"))??);
        }
        Ok(())
    })?;
    weeks.sort_by_key(|(week, _)| *week);
    for (week, truth) in &mut weeks {
        if *week % 3 == 1 {
            truth.resent = faults::resend(out, *week)?;
        }
    }
    let weeks: Vec<WeekTruth> = weeks.into_iter().map(|(_, truth)| truth).collect();
    let mut file = io::BufWriter::new(fs::File::create(truth)?);
    truth::write(options, &weeks, &mut file)?;
    io::Write::flush(&mut file)
}

fn write_week(options: &Options, out: &Path, week: i64) -> io::Result<WeekTruth> {
    let mut drop = Drop::create(out.join(format!("week{}", week + 1)))?;
    let mut truth = WeekTruth {
        broken: faults::before(week, &mut drop)?,
        ..WeekTruth::default()
    };
    let registry = format!("registry/registry_{}.csv", compact(week * 7 + 6));
    // Excel's way of saying UTF-8.
    drop.raw(&registry, format!("\u{feff}{REGISTRY_HEADER}\r\n").as_bytes())?;
    for index in 0..options.patients {
        let patient = Patient::new(options, index);
        let story = Story::new(options, &patient);
        truth.count(&story, week);
        write_patient(&story, week, &registry, &mut drop)?;
    }
    truth.broken.extend(faults::after(week, &mut drop)?);
    truth.written = drop.finish()?;
    Ok(truth)
}

/// Writes what reaches the data centre in one week about one patient.
fn write_patient(story: &Story<'_>, week: i64, registry: &str, drop: &mut Drop) -> io::Result<()> {
    let days = week * 7..week * 7 + 7;
    let patient = story.patient;
    let mut messages = Messages::of(patient);
    for message in messages.admissions() {
        if days.contains(&message.arrives) {
            drop.message(&format!("hl7/adt_{}.hl7", compact(message.arrives)), &message.text)?;
        }
    }
    for order in &story.orders {
        let Some(visit) = patient.visits.iter().find(|visit| visit.no == order.visit) else {
            continue;
        };
        for delivery in &order.deliveries {
            // Every message is made in every week, so that its number does not depend on the week.
            if order.feed == Feed::Hl7 {
                let message = messages.result(visit, order, delivery);
                if days.contains(&message.arrives) {
                    drop.message(&format!("hl7/oru_{}.hl7", compact(message.arrives)), &message.text)?;
                }
            } else if days.contains(&delivery.arrives) {
                let file = format!("lis/lis_{}.csv", compact(delivery.arrives));
                for line in &delivery.lines {
                    let row = [
                        patient.mrn_at(delivery.said),
                        &order.no,
                        &order.visit,
                        line.assay.name,
                        &line.value,
                        line.assay.unit,
                        &line.assay.range(),
                        &order.sampled.slashes(),
                        &delivery.said.iso(),
                    ]
                    .map(|field| csv(field).into_owned())
                    .join(",");
                    drop.lis_row(&file, &(row + "\r\n"))?;
                }
            }
        }
    }
    for row in truth::registry(patient, week) {
        drop.raw(
            registry,
            (row.map(|field| csv(&field).into_owned()).join(",") + "\r\n").as_bytes(),
        )?;
        *drop.counts.entry("registry_rows").or_default() += 1;
    }
    for note in story.notes.iter().filter(|note| days.contains(&note.arrives)) {
        drop.whole(
            &format!("notes/{}/{}_{}.txt", note.mrn, note.visit, note.kind),
            &note.text,
            note.gb18030,
        )?;
    }
    for (_, line) in story.calls.iter().filter(|(day, _)| days.contains(day)) {
        let file = format!("dialogue/followup_{}.jsonl", compact(week * 7 + 6));
        drop.raw(&file, format!("{line}\n").as_bytes())?;
        *drop.counts.entry("calls").or_default() += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, path::PathBuf};

    fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut open = vec![dir.to_path_buf()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.insert(path.strip_prefix(dir).unwrap().to_path_buf(), fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    type Generate = fn(&Options, &Path, &Path) -> io::Result<()>;

    fn sample(options: &Options) -> (tempfile::TempDir, BTreeMap<PathBuf, Vec<u8>>) {
        written(options, generate)
    }

    fn written(options: &Options, generate: Generate) -> (tempfile::TempDir, BTreeMap<PathBuf, Vec<u8>>) {
        let dir = tempfile::tempdir().unwrap();
        generate(options, dir.path(), &dir.path().join("truth.json")).unwrap();
        let files = files(dir.path());
        (dir, files)
    }

    #[test]
    fn the_committed_samples_are_what_the_generator_writes() {
        for (disease, patients, folder, generate) in [
            ("stenting", 12, "carotid-stenting", generate as Generate),
            ("transplant", 16, "liver-transplant", transplant::generate),
        ] {
            let options = Options {
                patients,
                ..Options::default()
            };
            let (_dir, mut made) = written(&options, generate);
            let folder = format!("pipelines/{folder}");
            let pipeline = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&folder);
            let truth = made.remove(Path::new("truth.json")).unwrap();
            let hint = format!(
                "run: cargo run -p clinmill-bench --bin generate -- --disease {disease} --patients {patients} --out {folder}/inbox \
                 --truth {folder}/truth.json"
            );
            assert!(
                truth == fs::read(pipeline.join("truth.json")).unwrap(),
                "truth.json differs; {hint}"
            );
            let committed = files(&pipeline.join("inbox"));
            assert_eq!(
                made.keys().collect::<Vec<_>>(),
                committed.keys().collect::<Vec<_>>(),
                "{hint}"
            );
            for (path, bytes) in &made {
                assert!(committed.get(path) == Some(bytes), "{} differs; {hint}", path.display());
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        let options = Options {
            patients: 30,
            weeks: 5,
            seed: 7,
            draws: 2,
        };
        assert!(sample(&options).1 == sample(&options).1);
        assert!(sample(&options).1 != sample(&Options { seed: 8, ..options }).1);
    }

    #[test]
    fn the_size_is_linear_in_the_patients() {
        let size = |patients| {
            sample(&Options {
                patients,
                weeks: 1,
                ..Options::default()
            })
            .1
            .values()
            .map(Vec::len)
            .sum::<usize>()
        };
        // Counted truth only, and enough patients for the fixed part not to matter.
        let (one, two) = (size(501), size(1_002));
        assert!((19..=21).contains(&(two * 10 / one)), "{one} {two}");
    }

    #[test]
    fn every_incident_shows_in_the_truth() {
        let (_dir, files) = sample(&Options::default());
        let truth: serde_json::Value = serde_json::from_slice(&files[Path::new("truth.json")]).unwrap();
        let week = |n: usize, what: &str, table: &str| truth["weeks"][n][what][table].as_u64().unwrap();
        assert_eq!(week(1, "changed", "result_hl7"), 1, "a correction by HL7");
        assert_eq!(week(1, "changed", "result_lis"), 1, "a correction by CSV");
        assert_eq!(week(1, "changed", "carotid_stenting"), 1, "the registry's changed row");
        assert_eq!(week(2, "removed", "carotid_stenting"), 1, "the registry's vanished row");
        assert_eq!(week(2, "removed", "result_hl7"), 2, "a wrong and a deleted result");
        assert_eq!(week(2, "removed", "visit"), 1, "a cancelled admission");
        assert_eq!(week(2, "changed", "visit"), 1, "a discharge cancelled and made again");
        assert_eq!(truth["weeks"][2]["rows"]["person"], 12);
        assert!(
            truth["weeks"]
                .as_array()
                .unwrap()
                .iter()
                .all(|week| week["broken"].as_array().unwrap().len() >= 3)
        );
        assert_eq!(truth["weeks"][1]["resent"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn two_patients_have_the_same_note() {
        let (_dir, files) = sample(&Options::default());
        let same: Vec<_> = files
            .iter()
            .filter(|(path, _)| path.to_string_lossy().contains("会诊记录"))
            .map(|(_, b)| b)
            .collect();
        assert_eq!(same.len(), 3);
        assert!(same.iter().filter(|bytes| ***bytes == **same[0]).count() >= 2);
    }
}
