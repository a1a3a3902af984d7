//! The laws of the engine over the sample hospital: L1 incremental = full, L2 replay, L4 once, L5 trace, L6 nothing
//! lost; and what changes of a pipeline, a vault or an export do to a dataset.

mod alone;
mod counts;
mod exports;
mod history;
mod incremental;
mod once;
mod replay;
mod trace;
mod truth;

use clinmill_engine::refresh::{Outcome, RunReport};
use clinmill_tests::{hospital, site::Site};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The hospital after three refreshes, one a week.
pub struct Weekly {
    pub site: Site,
    pub reports: Vec<RunReport>,
}

/// Shared by the tests that only look at it; made again when none of them holds it any more.
pub fn weekly() -> Arc<Weekly> {
    static SHARED: Mutex<Weak<Weekly>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(weekly) = shared.upgrade() {
        return weekly;
    }
    let site = hospital::site();
    let reports = (1..=hospital::WEEKS)
        .map(|week| {
            hospital::put_week(&site, week);
            let report = site.refresh();
            assert_eq!((report.outcome, report.release), (Outcome::Released, week as u64));
            report
        })
        .collect();
    let weekly = Arc::new(Weekly { site, reports });
    *shared = Arc::downgrade(&weekly);
    weekly
}
