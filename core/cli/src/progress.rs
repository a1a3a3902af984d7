//! Follows a refresh on stderr: bars on a terminal; otherwise plain lines, one a second at most.

use crate::output::{Console, bytes, counted, say, thousands};
use clinmill_engine::refresh::Progress;
use clinmill_host::streams;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often a plain line is written within a stage.
const EVERY: Duration = Duration::from_secs(1);

/// What a refresh has done so far, shown.
pub struct Follow {
    look: Look,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Nothing,
    Bars,
    Lines,
    Json,
}

#[derive(Default)]
struct State {
    stage: &'static str,
    bar: Option<ProgressBar>,
    said: Option<Instant>,
    done: Done,
}

/// Figures of the present stage.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    inputs: u64,
    of_inputs: u64,
    bytes: u64,
    of_bytes: u64,
    events: u64,
    ranges: u64,
    of_ranges: u64,
    rows: u64,
}

impl Follow {
    /// Progress as the console wants it.
    pub fn new(console: &Console) -> Self {
        let look = match (console.is_quiet(), console.logs_json(), streams::err().is_terminal()) {
            (true, ..) => Look::Nothing,
            (_, true, _) => Look::Json,
            // The bars know one stderr only, which leads nowhere beside libraries.
            (.., true) if !streams::err().is_kept() => Look::Bars,
            _ => Look::Lines,
        };
        Self::with(look)
    }

    /// Bars on a terminal, nothing otherwise: for commands that say themselves what they do.
    pub fn bars_only(console: &Console) -> Self {
        let mut follow = Self::new(console);
        if follow.look != Look::Bars {
            follow.look = Look::Nothing;
        }
        follow
    }

    fn with(look: Look) -> Self {
        let state = Mutex::default();
        Self { look, state }
    }

    /// Takes the bar away, before anything else is printed.
    pub fn finish(&self) {
        let mut state = self.state();
        self.close(&mut state);
        state.stage = "";
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a stage: its bar goes, its last figures stay as a plain line if it had any.
    fn close(&self, state: &mut State) {
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        if matches!(self.look, Look::Lines | Look::Json) && state.done.has_figures() {
            self.line(state);
        }
        state.done = Done::default();
        state.said = None;
    }

    fn update(&self, change: impl FnOnce(&mut Done)) {
        if self.look == Look::Nothing {
            return;
        }
        let mut state = self.state();
        change(&mut state.done);
        let (done, stage) = (state.done, state.stage);
        if let Some(bar) = &state.bar {
            let (at, of) = done.position();
            if of > 0 && bar.length() != Some(of) {
                bar.set_length(of);
                bar.set_style(style(true));
            }
            bar.set_position(at.min(of));
            bar.set_message(done.text(stage));
        } else if state.said.is_none_or(|at| at.elapsed() >= EVERY) {
            // The first figures of a stage wait a second, too: most stages are shorter.
            let first = state.said.is_none();
            state.said = Some(Instant::now());
            if !first {
                self.line(&state);
            }
        }
    }

    fn line(&self, state: &State) {
        let done = &state.done;
        match self.look {
            Look::Json => say(&json!({
                "level": "info", "stage": state.stage,
                "inputs": done.inputs, "of_inputs": done.of_inputs, "bytes": done.bytes, "of_bytes": done.of_bytes,
                "events": done.events, "ranges": done.ranges, "of_ranges": done.of_ranges, "rows": done.rows,
            })
            .to_string()),
            _ => say(&format!("{}: {}", state.stage, done.text(state.stage))),
        }
    }
}

impl Progress for Follow {
    fn stage(&self, name: &'static str) {
        if self.look == Look::Nothing {
            return;
        }
        let mut state = self.state();
        self.close(&mut state);
        state.stage = name;
        if self.look == Look::Bars {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style(false));
            bar.set_prefix(name);
            bar.enable_steady_tick(Duration::from_millis(100));
            state.bar = Some(bar);
        }
    }

    fn plan(&self, inputs: u64, bytes: u64) {
        self.update(|done| (done.of_inputs, done.of_bytes) = (inputs, bytes));
    }

    fn input(&self) {
        self.update(|done| done.inputs += 1);
    }

    fn bytes(&self, n: u64) {
        self.update(|done| done.bytes += n);
    }

    fn records(&self, n: u64) {
        self.update(|done| done.events += n);
    }

    fn ranges(&self, done: u64, total: u64) {
        // Threads may report out of order.
        self.update(|d| (d.ranges, d.of_ranges) = (d.ranges.max(done), total));
    }

    fn rows(&self, n: u64) {
        self.update(|done| done.rows += n);
    }
}

impl Done {
    fn has_figures(&self) -> bool {
        self.of_inputs > 0 || self.of_ranges > 0
    }

    /// How far, in bytes while reading and in ranges while transforming.
    fn position(&self) -> (u64, u64) {
        match self.of_ranges {
            0 => (self.bytes, self.of_bytes),
            of => (self.ranges, of),
        }
    }

    fn text(&self, stage: &str) -> String {
        match (stage, self.of_inputs, self.of_ranges) {
            (_, 1.., _) => format!(
                "{} of {}, {} of {}, {}",
                thousands(self.inputs),
                counted(self.of_inputs, "input", "inputs"),
                bytes(self.bytes),
                bytes(self.of_bytes),
                counted(self.events, "event", "events")
            ),
            (_, _, 1..) => format!(
                "{} of {}, {}",
                thousands(self.ranges),
                counted(self.of_ranges, "bucket range", "bucket ranges"),
                counted(self.rows, "changed row", "changed rows")
            ),
            _ => String::new(),
        }
    }
}

fn style(known_length: bool) -> ProgressStyle {
    let template = match known_length {
        true => "{prefix:>10} [{bar:30}] {percent:>3}%  {msg}  {eta} left",
        false => "{prefix:>10} {spinner} {elapsed}",
    };
    // A template that does not parse costs the looks only.
    ProgressStyle::with_template(template).map_or_else(|_| ProgressStyle::default_bar(), |s| s.progress_chars("=> "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_stage_are_text() {
        let follow = Follow::with(Look::Lines);
        follow.stage("ingest");
        follow.plan(2, 3_000_000);
        follow.input();
        follow.bytes(1_500_000);
        follow.records(1234);
        let text = follow.state().done.text("ingest");
        assert_eq!(text, "1 of 2 inputs, 1.5 MB of 3.0 MB, 1,234 events");
        follow.stage("transform");
        assert!(!follow.state().done.has_figures());
        follow.ranges(2, 4);
        follow.ranges(1, 4);
        follow.rows(7);
        assert_eq!(
            follow.state().done.text("transform"),
            "2 of 4 bucket ranges, 7 changed rows"
        );
        assert_eq!(follow.state().done.position(), (2, 4));
    }

    #[test]
    fn templates_parse() {
        for template in [true, false] {
            let bar = ProgressBar::hidden().with_style(style(template));
            bar.finish();
        }
        let quiet = Follow::with(Look::Nothing);
        quiet.stage("ingest");
        quiet.plan(1, 1);
        assert_eq!(quiet.state().done.of_inputs, 0);
    }
}
