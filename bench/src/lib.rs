//! clinmill bench.
