//! clinmill plugin terminology.
