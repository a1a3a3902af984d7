//! clinmill engine.
