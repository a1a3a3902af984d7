//! clinmill host.
