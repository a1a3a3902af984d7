//! A fixed number of threads over a list of tasks.

use crate::error::EngineError;
use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Runs `0..n` on several threads; results in order, the first error wins and stops the rest.
pub fn in_parallel<T: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T, EngineError> + Sync,
) -> Result<Vec<T>, EngineError> {
    let results: Vec<Mutex<Option<T>>> = (0..n).map(|_| Mutex::new(None)).collect();
    let failure: Mutex<Option<EngineError>> = Mutex::new(None);
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let run = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n || failed.load(Ordering::Relaxed) {
                return;
            }
            match work(i) {
                Ok(result) => *unpoisoned(&results[i]) = Some(result),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    unpoisoned(&failure).get_or_insert(error);
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(n) {
            scope.spawn(run);
        }
        run();
    });
    if let Some(error) = unpoisoned(&failure).take() {
        return Err(error);
    }
    results
        .iter()
        .map(|r| {
            unpoisoned(r)
                .take()
                .ok_or_else(|| EngineError::internal("a task gave no result".to_owned()))
        })
        .collect()
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
