//! When a table is rewritten and when its changes are only laid over.

use crate::dataset::TableEntry;

/// A base below this many bytes is rewritten with each release, so that readers need the base alone.
pub const SMALL_BASE: u64 = 256 << 20;

/// Beyond this share of the base the overlay is folded into a new base.
pub const OVERLAY_PERCENT: u64 = 20;

/// What a release does with a table's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoragePlan {
    /// Nothing changed: the files of the release before.
    Keep,
    /// A new base from the old base, the overlay and the changes.
    Rewrite,
    /// The old base; the changes join the overlay.
    Overlay,
}

/// The plan for a table that had `old` and gets change files of `delta` bytes with `delta_rows` rows.
pub fn plan_storage(old: Option<&TableEntry>, delta: u64, delta_rows: u64) -> StoragePlan {
    let Some(old) = old else {
        return StoragePlan::Rewrite;
    };
    if delta_rows == 0 {
        return StoragePlan::Keep;
    }
    let base: u64 = old.base.iter().map(|f| f.size).sum();
    let overlay = delta + old.overlay.iter().map(|f| f.size).sum::<u64>();
    if base < SMALL_BASE || overlay.saturating_mul(100) > base.saturating_mul(OVERLAY_PERCENT) {
        StoragePlan::Rewrite
    } else {
        StoragePlan::Overlay
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::testing::entry;

    #[test]
    fn by_size() {
        let sized = |base: u64, overlay: &[u64]| entry(&[base], overlay);
        let mb = 1 << 20;
        assert_eq!(plan_storage(None, 1, 1), StoragePlan::Rewrite);
        assert_eq!(plan_storage(Some(&sized(1, &[])), 0, 0), StoragePlan::Keep);
        assert_eq!(plan_storage(Some(&sized(255 * mb, &[])), mb, 1), StoragePlan::Rewrite);
        assert_eq!(plan_storage(Some(&sized(300 * mb, &[])), mb, 1), StoragePlan::Overlay);
        assert_eq!(
            plan_storage(Some(&sized(300 * mb, &[30 * mb])), 30 * mb, 1),
            StoragePlan::Overlay
        );
        assert_eq!(
            plan_storage(Some(&sized(300 * mb, &[30 * mb])), 31 * mb, 1),
            StoragePlan::Rewrite
        );
    }
}
