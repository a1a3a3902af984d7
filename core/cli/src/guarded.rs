//! Commands that load libraries run in a process of their own, for which this one answers: a library that ends its process,
//! with whatever exit code, must not look like a command that was done.

use crate::{
    args::{Command, Plugin},
    context::Context,
    failure::{FAILED, Failure, OK},
    plugins::Named,
};
use clinmill_host::guard;
use std::{os::unix::process::ExitStatusExt as _, path::PathBuf};

/// Tells the process that is guarded that it is.
const GUARDED: &str = "CLINMILL_GUARDED";

fn is_guarded() -> bool {
    std::env::var_os(GUARDED).is_some()
}

/// Whether a command may load a library: one to be checked, or those of a pipeline file among its arguments.
fn loads(command: &Command) -> bool {
    let is_small = |file: &PathBuf| {
        file.metadata()
            .is_ok_and(|m| m.is_file() && m.len() <= clinmill_spec::MAX_BYTES as u64)
    };
    let names_some = |file: PathBuf| is_small(&file) && !Named::read(&file).files.libraries.is_empty();
    match command {
        Command::Plugin(Plugin::Check(_)) => true,
        Command::Demo(_) | Command::Init(_) | Command::Units(_) => false,
        _ => std::env::args_os().skip(2).map(PathBuf::from).any(names_some),
    }
}

/// Runs the command in a process of its own where it loads libraries, and says how it ended; `None`: here it is to be run.
pub fn stand(context: &Context, command: &Command) -> Option<u8> {
    if is_guarded() || !loads(command) {
        return None;
    }
    let mut again = std::process::Command::new(std::env::current_exe().ok()?);
    again.args(std::env::args_os().skip(1)).env(GUARDED, "1");
    let status = guard::stand(again).ok()?;
    let how = match (status.code(), status.signal()) {
        (Some(code), _) if code == i32::from(guard::DONE) => return Some(OK),
        (Some(code), _) if code != 0 => return Some(u8::try_from(code).unwrap_or(FAILED)),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        _ => "ended in the midst of it".to_owned(),
    };
    let message = format!(
        "the process that ran the command {how}: a library that it loaded may have done that. The command is not done"
    );
    let failure = Failure {
        code: Some("PLUGIN_PROCESS"),
        ..Failure::new(FAILED, message)
    };
    context.console.failure(&failure);
    Some(failure.exit)
}

/// The exit code of a command that was run here.
pub fn said(exit: u8) -> u8 {
    match exit {
        OK if is_guarded() => guard::DONE,
        exit => exit,
    }
}
