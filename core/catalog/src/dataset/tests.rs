//! A dataset from its first release to a buyer's copy, and each way of damaging it.

use super::testing::{Change, World, rows};
use super::*;
use arrow::array::AsArray;
use std::collections::BTreeMap;
use std::fs;

const HISTORY: [&[Change]; 4] = [
    &[
        (1, Some((1, 10))),
        (2, Some((1, 20))),
        (3, Some((2, 30))),
        (4, Some((3, 40))),
    ],
    &[(1, Some((1, 11))), (3, None), (5, Some((2, 50)))],
    // Row 2 moves to another subject; row 5 is deleted, row 6 is new.
    &[(2, Some((3, 20))), (5, None), (6, Some((1, 60)))],
    &[(2, Some((1, 21))), (3, Some((2, 31))), (6, None)],
];

async fn world(overlay: bool) -> (World, tempfile::TempDir) {
    let (mut world, dir) = World::local();
    for (n, changes) in HISTORY.iter().enumerate() {
        world.release(changes, overlay && n > 0, ReleaseKind::Delta).await;
    }
    (world, dir)
}

/// A store without room for another manifest.
#[derive(Debug)]
struct FullDisk(Arc<dyn Store>);

#[async_trait::async_trait]
impl Store for FullDisk {
    fn url(&self) -> String {
        self.0.url()
    }
    async fn put_if_absent(&self, key: &str, _bytes: Bytes) -> Result<(), StoreError> {
        Err(StoreError::new(
            "create",
            key,
            StoreErrorKind::Permanent,
            "No space left on device",
        ))
    }
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.0.put(key, bytes).await
    }
    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.0.put_file(key, file).await
    }
    async fn stream(&self, key: &str) -> Result<crate::store::ByteStream, StoreError> {
        self.0.stream(key).await
    }
    async fn head(&self, key: &str) -> Result<crate::store::ObjectInfo, StoreError> {
        self.0.head(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<crate::store::ObjectInfo>, StoreError> {
        self.0.list(prefix).await
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key).await
    }
}

async fn state(world: &World) -> BTreeMap<String, super::testing::Row> {
    let latest = world.dataset.latest().await.unwrap().unwrap();
    let table = &latest.manifest.tables["t"];
    rows(&world.read(&table.base, &table.overlay).await)
        .into_iter()
        .collect()
}

fn copy(dir: &Path) -> BTreeMap<String, super::testing::Row> {
    let file = dir.join("current/t.parquet");
    let batches: Vec<_> = table::read_files([file]).map(|b| b.unwrap()).collect();
    rows(&batches).into_iter().collect()
}

#[tokio::test]
async fn releases_rewritten_or_overlaid_hold_the_same() {
    let (rewritten, _a) = world(false).await;
    let (overlaid, _b) = world(true).await;
    assert_eq!(state(&rewritten).await, rewritten.state);
    assert_eq!(state(&overlaid).await, rewritten.state);
    let entry = |w: &World| w.latest.as_ref().unwrap().manifest.tables["t"].clone();
    assert_eq!(entry(&rewritten).fingerprint, entry(&overlaid).fingerprint);
    assert!(entry(&rewritten).overlay.is_empty() && !entry(&overlaid).overlay.is_empty());
    for world in [&rewritten, &overlaid] {
        assert_eq!(world.dataset.releases().await.unwrap(), [1, 2, 3, 4]);
        let found = verify(&world.dataset, world.staging.path()).await.unwrap();
        assert_eq!((found.findings.as_slice(), found.release, found.since), (&[][..], 4, 1));
    }
    assert!(matches!(
        rewritten.dataset.manifest(5).await,
        Err(CatalogError::NotFound(_))
    ));
}

#[tokio::test]
async fn deletions_carry_keys_only() {
    let (world, _dir) = world(false).await;
    let release = world.dataset.manifest(2).await.unwrap();
    let files = world
        .dataset
        .fetch_all(&release.tables["t"].changes, world.staging.path())
        .await
        .unwrap();
    let mut deleted = 0;
    for batch in table::read_files(files) {
        let batch = batch.unwrap();
        let ops = batch.column_by_name("_op").unwrap().as_string::<i32>().clone();
        for row in (0..batch.num_rows()).filter(|r| ops.value(*r) == "D") {
            deleted += 1;
            assert!(batch.column_by_name("value").unwrap().is_null(row));
        }
    }
    assert_eq!(deleted, 1);
}

#[tokio::test]
async fn a_draft_of_an_older_release_loses() {
    let (mut world, _dir) = world(false).await;
    let (old_state, old_latest) = (world.state.clone(), world.latest.clone());
    let stale = world
        .draft(&[(9, Some((1, 1)))], false, ReleaseKind::Delta)
        .await
        .unwrap();
    (world.state, world.latest) = (old_state, old_latest);
    world.release(&[(8, Some((1, 1)))], false, ReleaseKind::Delta).await;
    assert_eq!(world.dataset.commit(stale).await.unwrap(), CommitOutcome::Lost);
    let first = testing::draft(None, BTreeMap::new());
    assert_eq!(world.dataset.commit(first).await.unwrap(), CommitOutcome::Lost);
}

#[tokio::test]
async fn a_draft_without_its_files_or_with_a_failed_gate_is_not_committed() {
    let (mut world, dir) = world(false).await;
    let mut draft = world
        .draft(&[(9, Some((1, 1)))], false, ReleaseKind::Delta)
        .await
        .unwrap();
    let gate = |passed| GateResult {
        name: "rows".into(),
        passed,
        detail: String::new(),
        measured: None,
    };
    draft.gates = vec![gate(false)];
    assert!(
        world
            .dataset
            .commit(draft.clone())
            .await
            .unwrap_err()
            .to_string()
            .contains("failed gate")
    );
    draft.gates = vec![gate(true)];
    fs::remove_file(dir.path().join("dataset").join(&draft.tables["t"].changes[0].path)).unwrap();
    assert!(matches!(
        world.dataset.commit(draft).await,
        Err(CatalogError::Damaged { .. })
    ));
    assert_eq!(world.dataset.releases().await.unwrap().len(), 4);
    for bad in ["_releases", "a/../b", "", "Upper", "1a", &"x".repeat(64)] {
        assert!(super::commit::check_table_name(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_full_disk_is_a_typed_error_and_no_release() {
    let (mut world, dir) = world(false).await;
    let draft = world
        .draft(&[(9, Some((1, 1)))], false, ReleaseKind::Delta)
        .await
        .unwrap();
    let releases = dir.path().join("dataset/_releases");
    let manifest = world.dataset.manifest(4).await.unwrap();
    let store = FullDisk(world.dataset.store().clone());
    let full = Dataset::on(Env::system(), Arc::new(store));
    let e = full.commit(draft.clone()).await.unwrap_err();
    assert!(
        matches!(&e, CatalogError::Store(e) if e.kind == StoreErrorKind::Permanent),
        "{e}"
    );
    assert_eq!(
        fs::read_dir(releases).unwrap().count(),
        5,
        "four manifests and the hint"
    );
    assert_eq!(world.dataset.latest().await.unwrap().unwrap().manifest, manifest);
    assert!(
        matches!(world.dataset.commit(draft).await.unwrap(), CommitOutcome::Committed(_)),
        "with room again"
    );
}

#[tokio::test]
async fn verify_names_every_damaged_byte() {
    let (world, dir) = world(true).await;
    let root = dir.path().join("dataset");
    let objects: Vec<String> = world
        .dataset
        .store()
        .list("")
        .await
        .unwrap()
        .into_iter()
        .map(|o| o.key)
        .collect();
    assert!(objects.len() > 10);
    for key in objects {
        let path = root.join(&key);
        let good = fs::read(&path).unwrap();
        let flip = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            bytes
        };
        let bad = [
            Some(Vec::new()),
            Some(good[..1].to_vec()),
            Some(good[..good.len() / 2].to_vec()),
            Some(flip(0)),
            Some(flip(good.len() / 2)),
            Some(flip(good.len() - 1)),
            Some([&good[..], b"x"].concat()),
            None,
        ];
        for (n, bad) in bad.into_iter().enumerate() {
            // Without the hint nothing is lost.
            if bad.is_none() && key == LATEST {
                continue;
            }
            match &bad {
                Some(bad) => fs::write(&path, bad).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let found = verify(&world.dataset, world.staging.path()).await.unwrap();
            assert!(found.is_damaged(), "{key}, damage {n}");
            assert!(
                found.findings.iter().any(|f| f.path == key),
                "{key}, damage {n}: {:?}",
                found.findings
            );
        }
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(verify(&world.dataset, world.staging.path()).await.unwrap().findings, []);
}

#[tokio::test]
async fn verify_tells_orphans_from_foreign_files() {
    let (mut world, dir) = world(false).await;
    let draft = world
        .draft(&[(9, Some((1, 1)))], false, ReleaseKind::Delta)
        .await
        .unwrap();
    let orphan = draft.tables["t"].changes[0].path.clone();
    let kinds = |found: Verification| -> BTreeMap<String, FindingKind> {
        found.findings.into_iter().map(|f| (f.path, f.kind)).collect()
    };
    let found = verify(&world.dataset, world.staging.path()).await.unwrap();
    assert!(!found.is_damaged());
    assert_eq!(kinds(found)[&orphan], FindingKind::Orphan);
    fs::write(dir.path().join("dataset/tables/t/base/mine.parquet"), b"x").unwrap();
    let found = verify(&world.dataset, world.staging.path()).await.unwrap();
    assert!(found.is_damaged());
    assert_eq!(kinds(found)["tables/t/base/mine.parquet"], FindingKind::Foreign);
}

#[tokio::test]
async fn gc_takes_old_orphans_only() {
    let (mut world, _dir) = world(false).await;
    let draft = world
        .draft(&[(9, Some((1, 1)))], false, ReleaseKind::Delta)
        .await
        .unwrap();
    let young = world.dataset.gc(Gc::default()).await.unwrap();
    assert!(young.orphans.is_empty() && young.young > 0 && young.named > 0);
    let all = Gc {
        grace: jiff::SignedDuration::ZERO,
        delete: false,
    };
    let planned = world.dataset.gc(all).await.unwrap();
    assert!(planned.orphans.contains(&draft.tables["t"].changes[0].path));
    let done = world.dataset.gc(Gc { delete: true, ..all }).await.unwrap();
    assert_eq!(done.orphans, planned.orphans);
    assert_eq!(verify(&world.dataset, world.staging.path()).await.unwrap().findings, []);
    assert!(world.dataset.commit(draft).await.is_err(), "its files are gone");
}

#[tokio::test]
async fn a_copy_is_caught_up_by_changes() {
    let (world, dir) = world(true).await;
    let to = dir.path().join("copy");
    let first = apply(&world.dataset, &to, Some(1)).await.unwrap();
    assert!(first.restarted && first.from.is_none() && first.tables["t"].rows == 4);
    let rest = apply(&world.dataset, &to, None).await.unwrap();
    assert!(!rest.restarted);
    assert_eq!((rest.from, rest.to), (Some(1), 4));
    assert_eq!((rest.tables["t"].upserts, rest.tables["t"].deletes), (6, 3));
    assert_eq!(copy(&to), world.state);
    let again = apply(&world.dataset, &to, None).await.unwrap();
    assert_eq!(
        (again.from, again.restarted, again.tables["t"].upserts),
        (Some(4), false, 0)
    );
    // At once, or in steps: the same.
    let other = dir.path().join("other");
    assert!(apply(&world.dataset, &other, None).await.unwrap().restarted);
    assert_eq!(copy(&other), world.state);
    assert!(
        apply(&world.dataset, &to, Some(2)).await.is_err(),
        "a copy does not go back"
    );
    let kept: Vec<_> = fs::read_dir(to.join("releases")).unwrap().collect();
    assert_eq!(kept.len(), 1);
}

#[tokio::test]
async fn a_copy_survives_leftovers_and_refuses_another_dataset() {
    let (world, dir) = world(true).await;
    let to = dir.path().join("copy");
    apply(&world.dataset, &to, Some(2)).await.unwrap();
    // What processes leave that die before, between and after the renames.
    fs::create_dir_all(to.join("releases/.new-00000003")).unwrap();
    fs::write(to.join("releases/.new-00000003/t.parquet"), b"half").unwrap();
    fs::create_dir_all(to.join("releases/00000003")).unwrap();
    fs::write(to.join("current.new"), b"").unwrap();
    apply(&world.dataset, &to, None).await.unwrap();
    assert_eq!(copy(&to), world.state);

    let (stranger, _dir) = self::world(false).await;
    let e = apply(&stranger.dataset, &to, None).await.unwrap_err();
    assert!(e.to_string().contains("is not a copy of"), "{e}");
    assert_eq!(copy(&to), world.state);
}

#[tokio::test]
async fn a_copy_and_its_dataset_lie_apart() {
    let (world, dir) = world(true).await;
    let root = dir.path().join("dataset");
    std::os::unix::fs::symlink(&root, dir.path().join("link")).unwrap();
    // The last is another folder, whose name only begins as the dataset's.
    for (to, refused) in [("dataset/copy/of", true), ("link/copy", true), ("dataset2", false)] {
        let to = dir.path().join(to);
        let said = apply(&world.dataset, &to, None).await.map_err(|e| e.to_string());
        assert_eq!(
            said.is_err_and(|e| e.contains("one in the other")),
            refused,
            "{}",
            to.display()
        );
        assert_eq!(to.exists(), !refused);
    }
}

/// Of a row's id nothing but the digest of its file tells that it is another: the fingerprint is of what rows say.
#[tokio::test]
async fn no_flipped_byte_reaches_a_copy() {
    let (world, dir) = world(true).await;
    let entry = |release| {
        let dataset = &world.dataset;
        async move { dataset.manifest(release).await.unwrap().tables["t"].clone() }
    };
    let (first, second) = (entry(1).await, entry(2).await);
    for (file, held) in [(&first.base[0], None), (&second.changes[0], Some(1))] {
        let path = dir.path().join("dataset").join(&file.path);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let to = dir.path().join(format!("copy-{at}"));
            if let Some(held) = held {
                apply(&world.dataset, &to, Some(held)).await.unwrap();
            }
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            let e = apply(&world.dataset, &to, Some(2)).await.unwrap_err().to_string();
            assert!(
                e.contains(&file.path) && e.contains("does not fit its digest"),
                "{at}: {e}"
            );
            fs::write(&path, &whole).unwrap();
            apply(&world.dataset, &to, None).await.unwrap();
            assert_eq!(copy(&to), world.state);
            fs::remove_dir_all(&to).unwrap();
        }
    }
}

#[tokio::test]
async fn damaged_changes_do_not_reach_a_copy() {
    let (world, dir) = world(true).await;
    let to = dir.path().join("copy");
    apply(&world.dataset, &to, Some(3)).await.unwrap();
    let before = copy(&to);
    let release = world.dataset.manifest(4).await.unwrap();
    let path = dir.path().join("dataset").join(&release.tables["t"].changes[0].path);
    let other = world.dataset.manifest(3).await.unwrap().tables["t"].changes[0]
        .path
        .clone();
    fs::copy(dir.path().join("dataset").join(other), path).unwrap();
    assert!(apply(&world.dataset, &to, None).await.is_err());
    assert_eq!(copy(&to), before);
}

#[tokio::test]
async fn a_changed_copy_is_told() {
    let (world, dir) = world(true).await;
    for (until, flip) in [(4, false), (3, true)] {
        let to = dir.path().join(format!("copy{until}"));
        apply(&world.dataset, &to, Some(until)).await.unwrap();
        let file = fs::canonicalize(to.join("current/t.parquet")).unwrap();
        let mut bytes = fs::read(&file).unwrap();
        if flip {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        } else {
            bytes.truncate(bytes.len() - 1);
        }
        fs::write(&file, bytes).unwrap();
        let e = apply(&world.dataset, &to, None).await.unwrap_err().to_string();
        assert!(e.contains("t.parquet is not as `apply` left it"), "{e}");
        fs::remove_file(&file).unwrap();
        assert!(apply(&world.dataset, &to, None).await.is_err(), "a file is gone");
    }
}

#[tokio::test]
async fn a_copy_behind_a_rebase_starts_again() {
    let (mut world, dir) = world(true).await;
    let (near, far) = (dir.path().join("near"), dir.path().join("far"));
    apply(&world.dataset, &near, Some(4)).await.unwrap();
    apply(&world.dataset, &far, Some(2)).await.unwrap();
    world.release(&[(1, None)], false, ReleaseKind::Rebase).await;
    world.release(&[(7, Some((1, 70)))], true, ReleaseKind::Delta).await;
    assert_eq!(world.dataset.last_rebase().await.unwrap(), Some(5));
    // A purge takes the older changes away.
    fs::remove_dir_all(dir.path().join("dataset/tables/t/changes/00000003")).unwrap();
    let done = apply(&world.dataset, &far, None).await.unwrap();
    assert!(done.restarted);
    assert!(!apply(&world.dataset, &near, None).await.unwrap().restarted);
    assert_eq!(copy(&far), world.state);
    assert_eq!(copy(&near), world.state);
    let found = verify(&world.dataset, world.staging.path()).await.unwrap();
    assert_eq!((found.findings.as_slice(), found.since), (&[][..], 5));
}

#[tokio::test]
async fn differences_are_net() {
    let (world, dir) = world(true).await;
    let scratch = dir.path();
    let one = diff(&world.dataset, 1, 2, 10, scratch)
        .await
        .unwrap()
        .tables
        .remove("t")
        .unwrap();
    assert_eq!((one.rows_before, one.rows_after, one.deletes), (4, 4, 1));
    assert_eq!(
        one.upserts,
        BTreeMap::from([("new".to_owned(), 1), ("corrected".to_owned(), 1)])
    );
    let ids: Vec<_> = one.rows.iter().map(|r| (r.row_id.as_str(), r.op)).collect();
    assert_eq!(ids, [("r001", "U"), ("r003", "D"), ("r005", "U")]);
    // Row 5 came and went, row 6 too, row 3 went and came back, row 1 and 2 were corrected.
    let all = diff(&world.dataset, 1, 4, 10, scratch)
        .await
        .unwrap()
        .tables
        .remove("t")
        .unwrap();
    let ids: Vec<_> = all.rows.iter().map(|r| (r.row_id.as_str(), r.op)).collect();
    assert_eq!(ids, [("r001", "U"), ("r002", "U"), ("r003", "U")]);
    // What was there before is not new, though it went in between.
    assert_eq!(
        (&all.upserts, all.deletes),
        (&BTreeMap::from([("corrected".to_owned(), 3)]), 0)
    );
    let first = diff(&world.dataset, 0, 1, 2, scratch)
        .await
        .unwrap()
        .tables
        .remove("t")
        .unwrap();
    assert_eq!((first.upserted(), first.rows.len()), (4, 2));
    assert!(diff(&world.dataset, 2, 2, 0, scratch).await.is_err());
}
