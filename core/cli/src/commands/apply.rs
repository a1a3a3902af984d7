//! `clinmill apply`: the buyer's side, a local copy caught up by changes.

use crate::{
    args,
    context::{Context, no_release},
    failure::{Failure, OK},
    output::{Grid, thousands},
};
use clinmill_catalog::dataset::{self, Apply};

/// Catches up a copy.
///
/// # Errors
/// When the copy cannot be caught up; it stays as it was.
pub async fn run(context: &Context, args: &args::Apply) -> Result<u8, Failure> {
    let dataset = context.dataset(&args.target).await?;
    match args.release {
        Some(release) => context.known_release(&dataset, release).await?,
        None if dataset.releases().await?.is_empty() => return Err(no_release()),
        None => {}
    }
    let done = dataset::apply(&dataset, &args.to, args.release).await?;
    context.console.result(&done, || {
        let mut text = format!("{} ({})\n", summary(&done), args.to.join("current").display());
        if done.from != Some(done.to) {
            text.push_str(&tables(&done).to_string());
        }
        text
    })?;
    Ok(OK)
}

/// What was done, in one sentence.
pub fn summary(done: &Apply) -> String {
    match (done.from, done.restarted) {
        (Some(from), _) if from == done.to => format!("the copy is at release {from} already"),
        (Some(from), false) => format!("the copy was caught up from release {from} to {}", done.to),
        (Some(from), true) => format!(
            "the copy was behind a rebase: made anew from release {from} to {}",
            done.to
        ),
        (None, _) => format!("a new copy was made of release {}", done.to),
    }
}

fn tables(done: &Apply) -> Grid {
    let mut grid = Grid::new(["table", ">rows", ">upserts", ">deletes"]);
    for (name, t) in &done.tables {
        grid.row([
            name.clone(),
            thousands(t.rows),
            thousands(t.upserts),
            thousands(t.deletes),
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_happened() {
        let said = |from, to, restarted| {
            summary(&Apply {
                from,
                to,
                restarted,
                ..Apply::default()
            })
        };
        assert_eq!(said(None, 3, true), "a new copy was made of release 3");
        assert_eq!(said(Some(1), 3, false), "the copy was caught up from release 1 to 3");
        assert_eq!(said(Some(3), 3, false), "the copy is at release 3 already");
    }
}
