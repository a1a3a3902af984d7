//! Plugins that are processes of their own: any language, and code that must not share our memory. Version 1 of the
//! protocol, over standard input and output; `tests/abi/python` holds an example of each kind.
//!
//! A message is one line of JSON; its key `bytes` says how many bytes follow the line: an Arrow IPC stream, a mapping
//! file, a part of an input, a token. The host calls, the plugin replies; each call is answered by `done` or `error`,
//! before which other replies may come. Each message of the host has a number `id`, and each reply repeats that of the message
//! that was read last: what comes after `done` is not taken for a part of the next answer. The plugin reads until its input
//! ends.
//!
//! | call | with | replies |
//! |---|---|---|
//! | `describe` | `protocol` | `done`: `protocol`, `kind` (`source`, `transform`, `sink`), `name`, `version`, `summary`, `capabilities`, `schema` |
//! | `check` | `options` | `done`: `findings`, a list of `{code, pointer, message, hint?}` |
//! | `resource` | `reference`, `file`; bytes: the mapping file | none |
//!
//! A transform:
//!
//! | call | with | replies |
//! |---|---|---|
//! | `bind` | `options`, `name`, `timezone`; bytes: a stream without batches, the input's schema | `done`; bytes: the output's |
//! | `open` | `batch_rows` | `done` |
//! | `process` | bytes: a stream of one batch | `rows`: a stream of the output's columns and maybe `_in` (list of uint64); `rejected`: `row` uint32, `code`, `message`; `count`: `name`, `n`; then `done` |
//! | `finish` | | `count`; then `done`: there is no batch any more that rows could come from |
//!
//! A source:
//!
//! | call | with | replies |
//! |---|---|---|
//! | `bind` | `options`, `name`, `timezone` | `record` for each kind: `name`, `key` (`content`, or a list of columns), `fold` (`replace`, `patch`), `subject` (true, false); bytes: a stream without batches, its columns; then `done` |
//! | `splits` | `name`, `captures`, `size` of an input; only where `splits` is a capability | `done`: `splits`, a list of `[start, end]`: all of the input in order, from 0 to `size`, without gap or overlap, 65,536 at most |
//! | `read` | `name`, `captures`, `size`; `start`, `end` of the split; `batch_rows` | the ones below; then `done` |
//!
//! In `splits` and `read` the plugin may ask for the input: `bytes` with `offset` and `length`, which the host answers
//! with `bytes` and what is there, at most 4 MiB, nothing at the end. In `read` it pushes
//!
//! - `rows`: `kind`, counted from 0; a stream of that kind's columns, then `_issuer`, `_subject`, `_version` (text), `_void`
//!   (uint8), `_offset`, `_length`, `_row` (uint64), `_part`, `_cell` (uint32), of which `_version`, `_cell` and a
//!   reference's `_subject` may be null;
//! - `rejected`: a stream of `kind` (uint32, may be null), `code`, `message`, `offset`, `length`, `row` (uint64), `part`, `cell`
//!   (uint32, may be null);
//! - `link`: `survivor` and `retired`, each `{issuer, id}`, `version`, `offset`, `length`, `row`, `part`;
//! - `filtered`: `rule`, `n`; `progress`: `n` bytes.
//!
//! A process may read several inputs, one after the other. The time of a `read` counts from its last reply; but it must get
//! on: hand over a record, a rejection or a link, or ask for bytes of the input that it had not asked for (ten minutes by
//! default, ten times the time of a call). Names of rules and counts are 256 at most, as codes are, and links, codes and
//! names together hold no more than the plugin may use. No message has more than 256 MiB: larger batches are cut.
//!
//! A sink:
//!
//! | call | with | replies |
//! |---|---|---|
//! | `bind` | `options`, `name`, `timezone`; bytes: a stream without batches, the input's schema | `done` |
//! | `probe` | | `done`: maybe `report` |
//! | `open` | `run`, `batch_rows`: a writer begins | `done` |
//! | `write` | bytes: a stream of one batch | `done` |
//! | `prepare` | | `done`; bytes: the token |
//! | `close` | the writer ends; what it did not prepare goes | `done` |
//! | `commit` | `run`, `tokens`: how long each is; bytes: the tokens | `done`: `receipt` |
//! | `resolve` | `run`, `tokens`: none | `done`: `landed`, `receipt` |
//! | `abort` | as `commit` | `done` |
//!
//! Writers and the coordinator's calls may each have a process of their own. A process that is lost in `commit` leaves a
//! commit of which nobody knows whether it landed.
//!
//! `error` holds `status` (as in `clinmill_plugin.h`, lower case without prefix), `code`, `message` and maybe `pointer`.
//! What the phases mean, and what neither side may do, is as the header says. The process gets no environment and works in
//! `/`; it is started from a copy of the bytes that the lock allows, Python isolated (`-I`): what lies beside the program is
//! not read. It is ended, with all that it started (see `family`), when a call takes too long, on cancellation and at the
//! end of the run; when the host is killed, it is too, but not what it started. The limit of memory is that of each process
//! alone, and while a call lasts that of all together. What it writes to standard error is counted and not shown, for it may
//! hold values; only when `describe` fails, before which it is given nothing, and in `clinmill plugin check`, whose rows
//! are made up or the author's own, the end of it is told.

mod child;
mod executable;
mod family;
mod program;
mod sink;
mod source;
mod transform;

use crate::limits::Limits;
pub(crate) use child::STUCK;
use clinmill_sdk::{Kind, PluginError, Registry};
use program::Described;
pub use program::Pinned;
use std::{path::PathBuf, sync::Arc};

/// Starts a program once, asks it to describe itself, and adds the plugin that it is to a registry. It is known by the
/// digest of its file.
///
/// # Errors
/// When it does not start, does not answer in time, has another name or is no plugin of this protocol.
pub fn register(
    registry: &mut Registry,
    name: &str,
    command: Vec<PathBuf>,
    pinned: Pinned,
    limits: Limits,
) -> Result<Kind, PluginError> {
    let described = Described::new(name, command, pinned, limits)?;
    let kind = described.descriptor.kind;
    match kind {
        Kind::Source => registry.add_source(Arc::new(source::ProcessSource(described))),
        Kind::Transform => registry.add_transform(Arc::new(transform::ProcessTransform(described))),
        Kind::Sink => registry.add_sink(Arc::new(sink::ProcessSink(described))),
    };
    Ok(kind)
}
