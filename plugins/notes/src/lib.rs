//! clinmill plugin notes.
