//! clinmill catalog.
