//! One module per command. Each takes its arguments, prints its result and returns the exit code.

pub mod apply;
pub mod check;
pub mod demo;
pub mod diff;
pub mod export;
pub mod gates;
pub mod graph;
pub mod init;
pub mod junit;
pub mod map;
pub mod plan;
pub mod plugin;
pub mod preview;
pub mod quarantine;
pub mod releases;
pub mod run;
pub mod scaffold;
pub mod schema;
pub mod test;
pub mod trace;
pub mod units;
pub mod validate;
pub mod verify;
