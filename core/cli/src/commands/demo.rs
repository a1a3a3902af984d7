//! `clinmill demo`: the main job on the sample hospital. Three weekly refreshes, three releases, a buyer's copy caught
//! up by the changes, one row traced to its bytes.

use crate::{
    args,
    commands::{apply, diff, init::write_new, releases, run, trace, verify},
    context::{Context, scratch},
    failure::{FAILED, Failure, OK},
    output::{Grid, bytes, counted},
    progress::Follow,
};
use clinmill_catalog::{
    CatalogError,
    dataset::{self, Dataset, Diff},
    rowhash::Fingerprint,
};
use clinmill_engine::{
    bound::{self, Bound},
    refresh::{self, RefreshOptions, RunReport},
    trace::TraceReport,
};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// The sample hospital: paths below a work folder, and contents.
const SAMPLE: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/sample.rs"));

const PIPELINE: &str = "pipelines/carotid-stenting/pipeline.yaml";
const INBOX: &str = "pipelines/carotid-stenting/inbox/";
/// The table whose row is traced.
const TRACED: &str = "measurement";
/// The source whose rows are preferred: a line of CSV is read without help.
const TRACED_FROM: &str = "lis";

/// Runs the demo: exit code 1 when a copy differs, or something is damaged.
///
/// # Errors
/// When a part of the job fails.
pub async fn run(context: &Context, args: &args::Demo) -> Result<u8, Failure> {
    let demo = Demo::new(context, args.dir.as_deref())?;
    demo.all().await.map_err(|failure| Failure {
        // Whatever it was, the demo failed; only Ctrl-C keeps its code.
        exit: if failure.exit == 130 { 130 } else { FAILED },
        ..failure
    })
}

struct Demo<'a> {
    context: &'a Context,
    dir: PathBuf,
    cancelled: std::sync::Arc<AtomicBool>,
}

/// What a week's files came to.
#[derive(Serialize)]
struct Week {
    week: String,
    report: RunReport,
    changes: Diff,
    copy: dataset::Apply,
    /// By table: the fingerprints of the dataset and of the buyer's copy.
    fingerprints: BTreeMap<String, Compared>,
}

#[derive(Serialize)]
struct Compared {
    dataset: String,
    copy: String,
    equal: bool,
}

impl Week {
    fn copies_are_equal(&self) -> bool {
        self.fingerprints.values().all(|f| f.equal)
    }
}

impl<'a> Demo<'a> {
    fn new(context: &'a Context, dir: Option<&Path>) -> Result<Self, Failure> {
        let dir = match dir {
            Some(dir) => dir.to_path_buf(),
            None => {
                let id = context.env.uuid();
                std::env::temp_dir().join(format!("clinmill-demo-{}", id.get(..8).unwrap_or(&id)))
            }
        };
        std::fs::create_dir_all(&dir).map_err(|e| Failure::io("create", &dir, &e))?;
        let mut entries = std::fs::read_dir(&dir).map_err(|e| Failure::io("read", &dir, &e))?;
        if entries.next().is_some() {
            return Err(Failure::usage(format!(
                "{} is not empty: choose a new folder",
                dir.display()
            )));
        }
        let cancelled = context.cancelled();
        Ok(Self {
            context,
            dir,
            cancelled,
        })
    }

    async fn all(&self) -> Result<u8, Failure> {
        self.say(&format!(
            "a hospital's exports of {} into {}\n",
            counted(weeks().len() as u64, "week", "weeks"),
            self.dir.display()
        ));
        self.write(|path| !path.starts_with(INBOX))?;
        // The demo's dataset and vault lie in its folder, whatever the environment says.
        let bound = bound::bind(&self.dir.join(PIPELINE), &self.context.registry, &|_| None).await?;
        let dataset = self.context.dataset_of(&bound)?;
        let mut weeks_done = Vec::new();
        for week in weeks() {
            weeks_done.push(self.week(&week, &bound, &dataset).await?);
        }

        let releases = releases::list(&dataset).await?;
        self.say(&format!("\nreleases\n{}", releases::table(&releases)));
        let verification = dataset::verify(&dataset, &scratch()).await?;
        self.say(&format!("\nverify: {}", verify::text(&verification)));
        let row_id = match weeks_done.last() {
            Some(week) => self.traced_row(&bound, &week.changes).await?,
            None => None,
        };
        let traced = match &row_id {
            Some(row_id) => {
                let no_secrets = |_: &str| None;
                let report =
                    clinmill_engine::trace::trace(&bound, &self.context.env, &no_secrets, TRACED, row_id).await?;
                self.say(&format!(
                    "\ntrace of one row that the last release changed\n\n{}",
                    trace::text(&report)
                ));
                Some(report)
            }
            None => None,
        };
        let equal = weeks_done.iter().all(Week::copies_are_equal);
        let ok = equal && !verification.is_damaged() && traced.is_some();
        self.say(&self.ending(&dataset, row_id.as_deref(), ok));
        if self.context.console.is_json() {
            let value = json!({
                "dir": self.dir, "ok": ok, "weeks": weeks_done, "releases": releases, "verification": verification,
                "trace": traced,
            });
            self.context.console.result(&value, String::new)?;
        }
        Ok(if ok { OK } else { FAILED })
    }

    async fn week(&self, week: &str, bound: &Bound, dataset: &Dataset) -> Result<Week, Failure> {
        let folder = format!("{INBOX}{week}/");
        let files = self.write(|path| path.starts_with(&folder))?;
        let follow = Follow::bars_only(&self.context.console);
        let options = RefreshOptions::default();
        let result = refresh::refresh(bound, &self.context.env, &|_| None, &options, &self.cancelled, &follow).await;
        follow.finish();
        let report = result?;
        let changes = dataset::diff(
            dataset,
            report.release.saturating_sub(1),
            report.release,
            1000,
            &scratch(),
        )
        .await?;
        let copy = dataset::apply(dataset, &self.copy(), None).await?;
        let fingerprints = self.compare(dataset, report.release).await?;
        let done = Week {
            week: week.to_owned(),
            report,
            changes,
            copy,
            fingerprints,
        };
        self.say(&self.told(&done, &files));
        run::warn(self.context, &done.report);
        Ok(done)
    }

    fn told(&self, week: &Week, files: &(u64, u64)) -> String {
        let report = &week.report;
        let mut text = format!(
            "\n{}: {} ({}), release {} in {:.1} s\n{}\n\n{}",
            week.week,
            counted(files.0, "file", "files"),
            bytes(files.1),
            report.release,
            report.seconds,
            run::counts(report),
            diff::tables(&week.changes.tables),
        );
        let quarantined: Grid = run::quarantined(report);
        if !quarantined.is_empty() {
            text.push_str(&format!("\n{quarantined}"));
        }
        let n = counted(week.fingerprints.len() as u64, "table", "tables");
        let verdict = match week.copies_are_equal() {
            true => format!("the same fingerprints as the dataset in {n}"),
            false => "OTHER FINGERPRINTS THAN THE DATASET".to_owned(),
        };
        text.push_str(&format!("\nbuyer: {}; {verdict}\n", apply::summary(&week.copy)));
        text
    }

    /// A row to trace: a corrected one if there is one, for it has a history. Row ids are made with the vault's own key
    /// and are others in each demo; the first by its place in the inbox is the same row.
    async fn traced_row(&self, bound: &Bound, changes: &Diff) -> Result<Option<String>, Failure> {
        let rows = changes.tables.get(TRACED).map_or(&[][..], |t| t.rows.as_slice());
        let ids = |corrected: bool| -> BTreeSet<&str> {
            let wanted = rows
                .iter()
                .filter(|r| r.op == "U" && (!corrected || r.cause.as_deref() == Some("corrected")));
            wanted.map(|r| r.row_id.as_str()).collect()
        };
        let wanted = Some(ids(true))
            .filter(|ids| !ids.is_empty())
            .unwrap_or_else(|| ids(false));
        let traced = clinmill_engine::trace::trace_all(bound, &self.context.env, &|_| None, TRACED).await?;
        let place = |report: &TraceReport| {
            let origin = report.origins.first()?;
            Some((origin.relation != TRACED_FROM, origin.path.clone(), origin.offset))
        };
        let first = traced
            .into_iter()
            .filter(|report| wanted.contains(report.row_id.as_str()))
            .filter_map(|report| Some((place(&report)?, report.row_id)))
            .min();
        Ok(first.map(|(_, row_id)| row_id))
    }

    /// Fingerprints of the dataset's tables, and of the rows in the buyer's files.
    async fn compare(&self, dataset: &Dataset, release: u64) -> Result<BTreeMap<String, Compared>, Failure> {
        let mut out = BTreeMap::new();
        for (name, entry) in dataset.manifest(release).await?.tables {
            let file = self.copy().join("current").join(format!("{name}.parquet"));
            let copy = fingerprint(file)?;
            let compared = Compared {
                dataset: entry.fingerprint.to_string(),
                copy: copy.to_string(),
                equal: copy == entry.fingerprint,
            };
            out.insert(name, compared);
        }
        Ok(out)
    }

    fn copy(&self) -> PathBuf {
        self.dir.join("buyer")
    }

    fn ending(&self, dataset: &Dataset, row_id: Option<&str>, ok: bool) -> String {
        let pipeline = self.dir.join(PIPELINE);
        let pipeline = pipeline.display();
        let url = dataset.url();
        let copy = self.copy();
        let mut made = Grid::new(["made", ""]);
        made.row(["pipeline", &pipeline.to_string()]);
        made.row(["dataset", &url]);
        made.row(["buyer's copy", &copy.join("current").display().to_string()]);
        let mut next = vec![
            format!("clinmill run {pipeline}"),
            format!("clinmill diff {url} 2 3 --rows"),
            format!("clinmill quarantine list {pipeline}"),
        ];
        next.extend(row_id.map(|row_id| format!("clinmill trace {pipeline} {TRACED} {row_id}")));
        let verdict = if ok {
            ""
        } else {
            "\nTHE DEMO DID NOT END AS IT SHOULD\n"
        };
        let dir = self.dir.display();
        format!(
            "\n{made}\nnext\n  {}\n\nall of it lies in {dir}; to remove it\n  rm -r {dir}\n{verdict}",
            next.join("\n  ")
        )
    }

    /// Writes the sample's files that are wanted into the work folder; how many, and their bytes.
    fn write(&self, wanted: impl Fn(&str) -> bool) -> Result<(u64, u64), Failure> {
        let mut written = (0, 0);
        for (path, content) in SAMPLE.iter().filter(|(path, _)| wanted(path)) {
            write_new(&self.dir.join(path), content)?;
            written = (written.0 + 1, written.1 + content.len() as u64);
        }
        Ok(written)
    }

    /// Prints a part of the story; for programs the whole is printed at the end.
    fn say(&self, text: &str) {
        if !self.context.console.is_json() {
            self.context.console.print(text);
        }
    }
}

/// The weeks of the sample, in order.
fn weeks() -> BTreeSet<String> {
    let week = |(path, _): &(&str, &[u8])| Some(path.strip_prefix(INBOX)?.split_once('/')?.0.to_owned());
    SAMPLE.iter().filter_map(week).collect()
}

fn fingerprint(file: PathBuf) -> Result<Fingerprint, CatalogError> {
    let mut all = Fingerprint::default();
    for rows in dataset::table::read_files([file]) {
        all.merge(Fingerprint::of(&rows?)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_whole() {
        assert_eq!(weeks().into_iter().collect::<Vec<_>>(), ["week1", "week2", "week3"]);
        let has = |path: &str| SAMPLE.iter().any(|(p, content)| *p == path && !content.is_empty());
        assert!(has(PIPELINE) && has("mappings/lab-zh__loinc/map.csv") && has("mappings/lab-zh__loinc/mapping.yaml"));
    }

    #[test]
    fn a_used_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "").unwrap();
        let context = Context::new(&args::Global::default());
        assert_eq!(
            Demo::new(&context, Some(dir.path())).err().map(|f| f.exit),
            Some(crate::failure::INVALID)
        );
    }
}
