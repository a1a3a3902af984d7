//! Diagnostics as people read them: place, excerpt, caret, code, hint.

use crate::text::{BOM, LINE_ENDS, line_start};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};
use clinmill_model::{Diagnostic, Place};

/// All diagnostics as plain text, one after the other. `text` is the file they point into; a diagnostic of another
/// file is printed without an excerpt.
pub fn render(diagnostics: &[Diagnostic], file: &str, text: &str) -> String {
    all(diagnostics, file, text, &Renderer::plain())
}

/// As [`render`], with ANSI colours.
pub fn render_coloured(diagnostics: &[Diagnostic], file: &str, text: &str) -> String {
    all(diagnostics, file, text, &Renderer::styled())
}

fn all(diagnostics: &[Diagnostic], file: &str, text: &str, renderer: &Renderer) -> String {
    let renderer = renderer.clone().decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&one(diagnostic, file, text, &renderer));
        out.push_str("\n\n");
    }
    out
}

fn one(diagnostic: &Diagnostic, file: &str, text: &str, renderer: &Renderer) -> String {
    let level = if diagnostic.is_error() {
        Level::ERROR
    } else {
        Level::WARNING
    };
    let title = level.primary_title(&diagnostic.message).id(&diagnostic.code);
    let excerpt = diagnostic
        .place
        .as_ref()
        .filter(|p| p.file == file)
        .and_then(|p| excerpt(p, text));
    let help = diagnostic.hint.as_ref().map(|hint| Level::HELP.message(hint));
    let report = match (excerpt, &diagnostic.place) {
        (Some((line, number, span)), _) => {
            let mark = AnnotationKind::Primary.span(span);
            let snippet = Snippet::source(line).line_start(number).path(file).annotation(mark);
            vec![title.element(snippet).elements(help)]
        }
        // A place in a file whose text is not at hand.
        (None, Some(_)) => return diagnostic.to_string(),
        (None, None) => vec![annotate_snippets::Group::with_title(title).elements(help)],
    };
    renderer.render(&report)
}

/// The line of a place, its number, and the place within it.
fn excerpt<'t>(place: &Place, text: &'t str) -> Option<(&'t str, usize, std::ops::Range<usize>)> {
    let start = line_start(text.get(..place.start)?);
    let rest = text.get(start..)?;
    let line = rest.get(..rest.find(LINE_ENDS).unwrap_or(rest.len()))?;
    let (start, line) = match line.strip_prefix(BOM) {
        Some(line) => (start + BOM.len_utf8(), line),
        None => (start, line),
    };
    let from = place.start.saturating_sub(start).min(line.len());
    let to = place.end.saturating_sub(start).clamp(from, line.len());
    line.get(from..to)?;
    Some((line, usize::try_from(place.line).ok()?, from..to))
}
