//! clinmill plugin datetime.
