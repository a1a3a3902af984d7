//! clinmill tests.
