//! Commands that load libraries run in a process of their own, for which this one answers: a library that ends its process,
//! with whatever exit code, must not look like a command that was done.

use crate::{
    args::{Command, Plugin},
    context::Context,
    failure::{FAILED, Failure, OK},
    plugins::Named,
};
use clinmill_host::{
    guard::{self, Ended},
    streams,
};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

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
        _ => std::env::args_os().skip(1).flat_map(paths).any(names_some),
    }
}

/// What of an argument may be a path: `pipeline.yaml`, or what stands behind `--pipeline=`.
fn paths(argument: OsString) -> impl Iterator<Item = PathBuf> {
    let bytes = argument.as_bytes();
    let at = bytes.iter().position(|b| *b == b'=');
    let value = at.map(|at| PathBuf::from(OsStr::from_bytes(&bytes[at + 1..])));
    [PathBuf::from(argument)].into_iter().chain(value)
}

/// Runs the command in a process of its own where it loads libraries, and says how it ended; `None`: here it is to be run.
pub fn stand(context: &Context, command: &Command) -> Option<u8> {
    if guard::is_guarded() || !loads(command) {
        return None;
    }
    let mut again = std::process::Command::new(std::env::current_exe().ok()?);
    again.args(std::env::args_os().skip(1));
    let token = (u128::from(context.env.random_u64()) << 64) | u128::from(context.env.random_u64());
    let rest = match command {
        Command::Run(_) => "Whether it had published a release before, `clinmill releases` tells",
        _ => "The command is not done",
    };
    let (how, under_way) = match guard::stand(again, token.to_ne_bytes()) {
        Ok(Ended::Done(code)) => return Some(code),
        Ok(Ended::Mute {
            code,
            is_result,
            loaded,
        }) => return Some(mute(context, code, is_result, &loaded, rest)),
        // As shells say it: 130 after Ctrl-C.
        Ok(Ended::Asked(signal)) => return Some(u8::try_from(128 + signal).unwrap_or(FAILED)),
        Ok(Ended::Lost { how, under_way }) => (how, under_way),
        Err(_) => {
            let _ = streams::keep();
            return None;
        }
    };
    let by = match under_way.as_slice() {
        [] => "a library that it loaded may have done that".to_owned(),
        [one] => format!("{one} was called, and may have done that"),
        all => format!("{} were called, and one of them may have done that", all.join(", ")),
    };
    let message = format!("the process that ran the command {how}: {by}. {rest}");
    let failure = Failure {
        code: Some("PLUGIN_PROCESS"),
        ..Failure::new(FAILED, message)
    };
    context.console.failure(&failure);
    Some(failure.exit)
}

/// Says what the command could not, for a library has taken its streams. A result that was printed stays one.
fn mute(context: &Context, code: u8, is_result: bool, loaded: &[String], rest: &str) -> u8 {
    let names: Vec<String> = loaded.iter().map(|name| format!("{name:?}")).collect();
    let what = format!(
        "the command could not say all: a library closed its standard output or error, or put another file there. \
         It had loaded {}",
        names.join(", ")
    );
    if code == OK && !is_result {
        context.console.warn(Some("PLUGIN_STREAMS"), &what);
        return code;
    }
    let exit = if code == OK { FAILED } else { code };
    let message = format!("{what}. {rest}");
    match is_result {
        true => context.console.failure(&Failure {
            code: Some("PLUGIN_STREAMS"),
            ..Failure::new(exit, message)
        }),
        false => context.console.error(Some("PLUGIN_STREAMS"), &message),
    }
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_alone_or_behind_an_option() {
        let of = |argument: &str| {
            paths(argument.into())
                .map(|p| p.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("p.yaml"), ["p.yaml"]);
        assert_eq!(of("--pipeline=a=b.yaml"), ["--pipeline=a=b.yaml", "a=b.yaml"]);
    }
}
