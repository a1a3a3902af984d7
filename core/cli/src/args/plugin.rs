//! The arguments of `clinmill plugin`.

use super::PipelineFile;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Commands about plugins.
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// List the built-in plugins, and those of a pipeline
    List(PluginList),
    /// Show the options of a plugin
    Info(PluginInfo),
    /// Make a new plugin whose tests pass at once
    New(PluginNew),
    /// Load a library, or start a program, and check that it keeps to the rules
    Check(PluginCheck),
    /// Write plugins.lock for the plugins that a pipeline names
    Lock(PipelineFile),
}

/// Which plugins are listed.
#[derive(Debug, Args)]
pub struct PluginList {
    /// A pipeline file, for the plugins that it brings
    #[arg(long, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
}

/// Which plugin is shown.
#[derive(Debug, Args)]
pub struct PluginInfo {
    /// The plugin's name
    pub name: String,
    /// A pipeline file, for the plugins that it brings
    #[arg(long, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
}

/// What kind of plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PluginKind {
    /// Turns inputs into records
    Source,
    /// Turns rows into rows
    Transform,
    /// Takes a release elsewhere
    Sink,
}

/// Which plugin is made.
#[derive(Debug, Args)]
pub struct PluginNew {
    /// The plugin's name: lower-case letters, digits and _
    pub name: String,
    /// What kind it is
    #[arg(long, value_enum)]
    pub kind: PluginKind,
    /// The folder to make; by default, the name
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The SDK's folder, or a checkout of clinmill; by default the one around the working folder, else the repository
    #[arg(long, value_name = "PATH")]
    pub sdk: Option<PathBuf>,
}

/// Which plugin is checked.
#[derive(Debug, Args)]
pub struct PluginCheck {
    /// The library (`.so`, `.dylib`, `.dll`) or the program; its code is run
    pub file: PathBuf,
    /// The name of a plugin that is a program, where it is not that of its file
    #[arg(long)]
    pub name: Option<String>,
    /// The plugin's folder, for its cases
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}
