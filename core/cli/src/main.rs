//! The `clinmill` command: arguments in, one command, an exit code out.

mod args;
mod commands;
mod context;
mod excerpt;
mod failure;
mod files;
mod guarded;
mod output;
mod plugins;
mod progress;
mod registry;
mod secrets;

use args::{Cli, Command, Plugin, Quarantine};
use clinmill_host::guard;
use context::Context;
use failure::Failure;
use std::process::ExitCode;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    guard::begin();
    clinmill_host::memory::keep_freed();
    let cli = args::parse();
    let context = Context::new(&cli.global);
    if let Some(exit) = guarded::stand(&context, &cli.command) {
        return ExitCode::from(exit);
    }
    ExitCode::from(run(&context, &cli))
}

fn run(context: &Context, cli: &Cli) -> u8 {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            context
                .console
                .error(None, &format!("threads cannot be started: {error}"));
            return failure::FAILED;
        }
    };
    let exit = runtime.block_on(command(context, cli));
    // Nobody waits for a query that was given up.
    runtime.shutdown_background();
    exit
}

async fn command(context: &Context, cli: &Cli) -> u8 {
    let exit = match dispatch(context, cli).await {
        Ok(exit) => exit,
        Err(failure) => {
            context.console.failure(&failure);
            failure.exit
        }
    };
    // What is dropped with the pipeline is released last: what a release is done is not changed by it.
    for error in clinmill_host::take_unreleased() {
        context.console.warn(Some(&error.code), &error.message);
    }
    let exit = match exit {
        failure::OK if context.console.failed() => failure::FAILED,
        exit => exit,
    };
    // Here, while the other threads of the runtime still are: one that began too late waits for the loader, too.
    guard::leave(exit);
    exit
}

async fn dispatch(context: &Context, cli: &Cli) -> Result<u8, Failure> {
    plugins::seconds()?;
    let format = cli.global.format;
    if format.is_drawing() && !matches!(cli.command, Command::Graph(_)) {
        return Err(Failure::usage(
            "only `graph` draws: say `--format text` or `--format json`",
        ));
    }
    match &cli.command {
        Command::Init(args) => commands::init::run(context, args),
        Command::Demo(args) => commands::demo::run(context, args).await,
        Command::Validate(args) => commands::validate::run(context, args).await,
        Command::Plan(args) => commands::plan::run(context, args).await,
        Command::Run(args) => commands::run::run(context, args).await,
        Command::Graph(args) => commands::graph::run(context, args, format).await,
        Command::Test(args) => commands::test::run(context, args).await,
        Command::Preview(args) => commands::preview::run(context, args).await,
        Command::Export(args) => commands::export::run(context, args).await,
        Command::Gates(args) => commands::gates::run(context, args).await,
        Command::Releases(args) => commands::releases::run(context, args).await,
        Command::Diff(args) => commands::diff::run(context, args).await,
        Command::Verify(args) => commands::verify::run(context, args).await,
        Command::Apply(args) => commands::apply::run(context, args).await,
        Command::Trace(args) => commands::trace::run(context, args).await,
        Command::Quarantine(Quarantine::List(args)) => commands::quarantine::list(context, args).await,
        Command::Quarantine(Quarantine::Show(args)) => commands::quarantine::show(context, args).await,
        Command::Quarantine(Quarantine::Replay(args)) => commands::quarantine::replay(context, args).await,
        Command::Units(args) => commands::units::run(context, args),
        Command::Plugin(Plugin::List(args)) => commands::plugin::list(context, args),
        Command::Plugin(Plugin::Info(args)) => commands::plugin::info(context, args),
        Command::Plugin(Plugin::New(args)) => commands::scaffold::run(context, args),
        Command::Plugin(Plugin::Check(args)) => commands::check::run(context, args),
        Command::Plugin(Plugin::Lock(args)) => commands::plugin::lock(context, args),
        Command::Map(command) => commands::map::run(context, command).await,
        Command::Schema(args) => commands::schema::run(context, args),
    }
}
