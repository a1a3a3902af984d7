//! `anyOf` and `oneOf`: which alternative was meant, and what to say when none fits.

use super::{At, Checker, Evaluated, Outcome, Violation};
use crate::{
    codes,
    tree::{Kind, Node},
};
use serde_json::Value;

impl<'s> Checker<'s> {
    /// Of `anyOf`, every alternative that fits says something of the value; of `oneOf`, no second one may fit.
    pub(super) fn check_alternatives(
        &self,
        branches: &'s [Value],
        only_one: bool,
        node: &Node,
        at: &At,
        depth: usize,
        out: &mut Outcome,
    ) -> Evaluated {
        let mut tried = Vec::new();
        let mut taken: Option<Evaluated> = None;
        for branch in branches {
            let mut outcome = Outcome::default();
            let evaluated = self.check(branch, node, at, depth + 1, &mut outcome);
            if !outcome.violations.is_empty() {
                tried.push((outcome, evaluated));
                continue;
            }
            match &mut taken {
                Some(_) if only_one => {
                    let message = format!("{} fits two alternatives, of which it must fit one", self.subject(at));
                    let hint = "write what only one of them can be; the plugin's schema has them in `oneOf`";
                    out.violations.push(Violation {
                        hint: Some(hint.to_owned()),
                        ..at.violation(codes::OPTION_SHAPE, message)
                    });
                    break;
                }
                Some(taken) => taken.extend(evaluated),
                None => taken = Some(evaluated),
            }
            let is_new =
                |found: &&(String, String, _)| !out.mappings.iter().any(|m| (&m.0, &m.1) == (&found.0, &found.1));
            let new: Vec<_> = outcome.mappings.iter().filter(is_new).cloned().collect();
            out.mappings.extend(new);
            out.integers.extend(outcome.integers);
            // Of a word or number nothing more is to be known.
            if !only_one && matches!(node.kind, Kind::Scalar(_)) {
                break;
            }
        }
        if let Some(taken) = taken {
            return taken;
        }
        // Which one was meant is not known: what any of them declares is not said to be unknown beside that.
        let evaluated = tried.iter().flat_map(|(_, evaluated)| evaluated).copied().collect();
        let tried: Vec<Outcome> = tried.into_iter().map(|(outcome, _)| outcome).collect();
        if tried.iter().all(|outcome| is_other_kind(outcome, at)) {
            out.violations.push(self.none_fits(branches, &tried, node, at));
        } else if let Some(best) = tried.into_iter().min_by_key(|outcome| distance(outcome, at)) {
            out.violations.extend(best.violations);
            out.mappings.extend(best.mappings);
        }
        evaluated
    }

    /// One sentence for a value that is of none of the kinds the alternatives ask for.
    fn none_fits(&self, branches: &'s [Value], tried: &[Outcome], node: &Node, at: &At) -> Violation {
        let all = || {
            tried
                .iter()
                .flat_map(|o| &o.violations)
                .filter(|v| v.pointer == at.pointer)
        };
        let mut choices: Vec<String> = all().flat_map(|v| v.choices.iter().cloned()).collect();
        let mut expected: Vec<String> = all()
            .flat_map(|v| v.expected.iter().cloned())
            .filter(|e| !e.is_empty())
            .collect();
        expected.dedup();
        choices.dedup();
        if !choices.is_empty() && (expected.is_empty() || node.json().is_string()) {
            let violation = self.wrong_choice(node, at, choices);
            // A word stands where a mapping is asked for: the word may be what the mapping is to hold.
            let shape = branches
                .iter()
                .find_map(|branch| self.shape(self.resolved(branch.as_object()?)?));
            return match shape.filter(|_| !violation.hint.as_deref().is_some_and(|h| h.starts_with("did you"))) {
                Some(shape) => Violation {
                    hint: Some(format!("{}; or write {shape}", violation.hint.unwrap_or_default())),
                    ..violation
                },
                None => violation,
            };
        }
        expected.extend(choices.iter().map(|c| format!("`{c}`")));
        self.wrong_type(node, at, expected)
    }
}

/// True when the alternative asks for another type or another word than the value itself.
fn is_other_kind(outcome: &Outcome, at: &At) -> bool {
    outcome
        .violations
        .iter()
        .any(|v| v.pointer == at.pointer && matches!(v.code, codes::OPTION_TYPE | codes::OPTION_CHOICE))
}

/// How far an alternative is from what was written: another type, then another tag (a fixed word or the keys of a
/// variant), then everything else.
fn distance(outcome: &Outcome, at: &At) -> (bool, usize, usize) {
    let tags = outcome.violations.iter().filter(|v| {
        let own = v.pointer == at.pointer;
        let child = v.pointer.len() > at.pointer.len()
            && v.pointer.get(at.pointer.len() + 1..).is_some_and(|p| !p.contains('/'));
        match v.code {
            codes::UNKNOWN_OPTION | codes::MISSING_OPTION => own,
            codes::OPTION_CHOICE => child,
            _ => false,
        }
    });
    (is_other_kind(outcome, at), tags.count(), outcome.violations.len())
}
