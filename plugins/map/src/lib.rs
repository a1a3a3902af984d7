//! clinmill plugin map.
