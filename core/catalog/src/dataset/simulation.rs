//! The commit layer under every fault, with several writers, a clean-up and a reader: repeatable from a seed.
//! `SEED=17 cargo test -p clinmill-catalog simulation` replays one, `SEEDS=10000` runs that many.

use super::testing::draft;
use super::*;
use crate::env::{SeededRandom, TestClock};
use crate::rowhash::Fingerprint;
use crate::store::{CloudStore, FaultStore, Faults};
use futures::future::{BoxFuture, join_all};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Seeds of an ordinary run: some seconds without optimisation.
const SEEDS: u64 = 150;

/// What the writers were told.
#[derive(Default)]
struct History {
    committed: Mutex<Vec<(String, u64, String)>>,
    unknown: AtomicUsize,
    lost: Mutex<BTreeSet<String>>,
    deleted: AtomicUsize,
    running: AtomicUsize,
}

struct Simulation {
    dataset: Dataset,
    faults: Arc<FaultStore>,
    inner: Arc<CloudStore>,
    clock: Arc<TestClock>,
    random: SeededRandom,
    staging: PathBuf,
    history: History,
}

impl Simulation {
    fn new(seed: u64, staging: &Path) -> Self {
        let clock = Arc::new(TestClock::default());
        let env = Env {
            clock: clock.clone(),
            random: Arc::new(SeededRandom::new(seed)),
        };
        let inner = Arc::new(CloudStore::new(Arc::new(object_store::memory::InMemory::new())));
        let often = [0, 20, 60, 120][(seed % 4) as usize];
        let faults = Arc::new(FaultStore::new(inner.clone(), &env, seed, Faults::all(often)));
        let retry = RetryPolicy {
            attempts: 4,
            ..RetryPolicy::default()
        };
        Self {
            dataset: Dataset::on(env, faults.clone()).with_retry(retry),
            faults,
            inner,
            clock,
            random: SeededRandom::new(!seed),
            staging: staging.to_path_buf(),
            history: History::default(),
        }
    }

    /// One refresh after the other; each again from the newest release until its own name stands in the history.
    async fn writer(&self, name: usize, refreshes: usize) {
        for n in 0..refreshes {
            let run = format!("{name}.{n}");
            for attempt in 0.. {
                assert!(attempt < 1000, "no progress");
                if matches!(self.refresh(&run, attempt).await, Ok(true)) {
                    break;
                }
            }
        }
        self.history.running.fetch_sub(1, Ordering::SeqCst);
    }

    /// True when the run is in the history, whether by this call or by an earlier one that did not know.
    async fn refresh(&self, run: &str, attempt: usize) -> Result<bool> {
        let latest = self.dataset.latest().await?;
        // The engine's ledger: does any release hold these inputs already?
        for release in 1..=latest.as_ref().map_or(0, |r| r.manifest.release) {
            if self.dataset.manifest(release).await?.run_id == run {
                return Ok(true);
            }
        }
        let parent = latest.as_ref().map(Release::as_parent);
        let release = parent.map_or(1, |p| p.release + 1);
        let content = format!("{run} {attempt}");
        let staged = StagedFile {
            path: self.staging.join("file"),
            size: content.len() as u64,
            sha256: Digest::of(content.as_bytes()),
            rows: 1,
        };
        let file = {
            // The staged file is read at each put: no other task writes it in between, because its name is its own.
            let path = self.staging.join(staged.sha256.short());
            std::fs::write(&path, &content).unwrap();
            let staged = StagedFile {
                path: path.clone(),
                ..staged
            };
            let put = self.dataset.put_file(&staged, "t", FileKind::Changes(release)).await;
            std::fs::remove_file(path).unwrap();
            put?
        };
        if self.random.below(4) == 0 {
            self.clock.advance(Duration::from_secs(3600 * self.random.below(6)));
        }
        let table = TableEntry {
            schema: Vec::new(),
            schema_sha256: schema_digest(&[]),
            key: Vec::new(),
            row_count: 0,
            fingerprint: Fingerprint::default(),
            base: Vec::new(),
            overlay: latest.map_or_else(Vec::new, |r| r.manifest.tables["t"].changes.clone()),
            changes: vec![file],
        };
        let mut draft = draft(parent, BTreeMap::from([("t".to_owned(), table)]));
        draft.run_id = run.to_owned();
        draft.vault.state = content.clone();
        match self.dataset.commit(draft).await {
            Ok(CommitOutcome::Committed(done)) => {
                let manifest = done.manifest;
                let told = (run.to_owned(), manifest.release, manifest.commit_id);
                self.history.committed.lock().unwrap().push(told);
                Ok(true)
            }
            Ok(CommitOutcome::Lost) => {
                self.history.lost.lock().unwrap().insert(content);
                Ok(false)
            }
            Err(e) => {
                if matches!(e, CatalogError::CommitUnknown { .. }) {
                    self.history.unknown.fetch_add(1, Ordering::SeqCst);
                }
                Err(e)
            }
        }
    }

    async fn cleaner(&self) {
        while self.history.running.load(Ordering::SeqCst) > 0 {
            // No write is on its way for longer than half of the grace period: that much the clean-up assumes.
            self.clock.advance(Duration::from_secs(600 * self.random.below(6)));
            if let Ok(report) = self.dataset.gc(Gc::default()).await {
                self.history.deleted.fetch_add(report.orphans.len(), Ordering::SeqCst);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Whatever a reader can see is whole, and history only grows.
    async fn reader(&self) {
        let mut seen = 0;
        while self.history.running.load(Ordering::SeqCst) > 0 {
            if let Ok(Some(latest)) = self.dataset.latest().await {
                assert!(latest.manifest.release >= seen, "a release vanished");
                seen = latest.manifest.release;
                for file in latest.manifest.tables.values().flat_map(TableEntry::files) {
                    let found = self.inner.digest(&file.path).await;
                    assert_eq!(
                        found.unwrap(),
                        (file.size, file.sha256),
                        "{} of release {seen}",
                        file.path
                    );
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn run(&self, seed: u64) -> Vec<String> {
        let (writers, refreshes) = (2 + (seed / 4 % 3) as usize, 3);
        self.history.running.store(writers, Ordering::SeqCst);
        // An orphan of a refresh that died long ago: there is always something to clean up.
        let key = Dataset::file_key("t", FileKind::Changes(1), &Digest::of(b"old"));
        self.inner.put(&key, "old".into()).await.unwrap();
        let _ = self.faults.put(&key, "old".into()).await;
        self.clock.advance(Duration::from_secs(50 * 3600));
        let mut tasks: Vec<BoxFuture<'_, ()>> = Vec::new();
        for name in 0..writers {
            tasks.push(Box::pin(self.writer(name, refreshes)));
        }
        tasks.push(Box::pin(self.cleaner()));
        tasks.push(Box::pin(self.reader()));
        join_all(tasks).await;
        // Let everything arrive that is still on its way.
        self.faults.calm(true);
        for _ in 0..40 {
            let _ = self.faults.head("nothing").await;
        }
        self.check(writers * refreshes).await
    }

    async fn check(&self, expected: usize) -> Vec<String> {
        let clean = Dataset::on(Env::seeded(0), self.inner.clone());
        let releases = clean.releases().await.unwrap();
        assert_eq!(
            releases,
            (1..=expected as u64).collect::<Vec<_>>(),
            "gaps, or a commit too many or too few"
        );
        let mut parent = None;
        let (mut runs, mut ids) = (BTreeSet::new(), Vec::new());
        for n in releases {
            let release = clean.release(n).await.unwrap();
            assert_eq!(release.manifest.parent, parent, "the chain breaks at {n}");
            parent = Some(release.as_parent());
            for file in release.manifest.tables.values().flat_map(TableEntry::files) {
                let found = self.inner.digest(&file.path).await.unwrap();
                assert_eq!(found, (file.size, file.sha256), "{}", file.path);
            }
            let told_lost = self
                .history
                .lost
                .lock()
                .unwrap()
                .contains(&release.manifest.vault.state);
            assert!(!told_lost, "release {n} was told that it was lost");
            assert!(runs.insert(release.manifest.run_id.clone()), "committed twice");
            ids.push(release.manifest.commit_id);
        }
        for (run, release, id) in self.history.committed.lock().unwrap().iter() {
            assert_eq!(
                ids.get(*release as usize - 1),
                Some(id),
                "{run} was told that it is release {release}"
            );
        }
        ids
    }
}

fn simulate(seed: u64, staging: &Path) -> (Vec<String>, Simulation) {
    let simulation = Simulation::new(seed, staging);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ids = runtime.block_on(simulation.run(seed));
    (ids, simulation)
}

#[test]
fn every_commit_appears_exactly_once() {
    let staging = tempfile::tempdir().unwrap();
    let seeds = match std::env::var("SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..std::env::var("SEEDS").map_or(SEEDS, |n| n.parse().unwrap()),
    };
    let (mut unknown, mut lost, mut deleted, mut faults) = (0, 0, 0, 0);
    for seed in seeds.clone() {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulate(seed, staging.path())));
        let Ok((_, simulation)) = run else {
            panic!("failed with SEED={seed}");
        };
        unknown += simulation.history.unknown.load(Ordering::SeqCst);
        lost += simulation.history.lost.lock().unwrap().len();
        deleted += simulation.history.deleted.load(Ordering::SeqCst);
        faults += simulation.faults.injected().len();
    }
    println!("{faults} faults, {lost} lost races, {unknown} unknown outcomes, {deleted} orphans deleted");
    if seeds.end - seeds.start > 1 {
        // The simulation reached what it is for.
        assert!(lost > 0 && deleted > 0 && faults > 0);
    }
}

#[test]
fn repeats_by_seed() {
    let staging = tempfile::tempdir().unwrap();
    assert_eq!(simulate(7, staging.path()).0, simulate(7, staging.path()).0);
    assert_ne!(simulate(7, staging.path()).0, simulate(11, staging.path()).0);
}
