//! Values that may identify a person: they cannot be printed by accident.

use std::fmt;

/// A value that must not reach a log, an error message or a report. It has no `Display`, its `Debug` is redacted,
/// and reading it takes an explicit [`expose`](Sensitive::expose).
///
/// ```compile_fail
/// println!("{}", clinmill_model::Sensitive::new("a name"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for use inside the vault only.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, owned.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", Sensitive::new("x")), "[redacted]");
    }
}
