//! Plugins that are processes of their own: any language, and code that must not share our memory. Version 1 of the
//! protocol, over standard input and output; `tests/abi/python` holds an example.
//!
//! A message is one line of JSON; its key `bytes` says how many bytes follow the line: an Arrow IPC stream, or a mapping
//! file. The host calls, the plugin replies; each call is answered by `done` or `error`, before which other replies may
//! come. The plugin reads until its input ends.
//!
//! | call | with | replies |
//! |---|---|---|
//! | `describe` | `protocol` | `done`: `protocol`, `kind` (`transform`), `name`, `version`, `summary`, `capabilities`, `schema` |
//! | `check` | `options` | `done`: `findings`, a list of `{code, pointer, message, hint?}` |
//! | `resource` | `reference`, `file`; bytes: the mapping file | none |
//! | `bind` | `options`, `name`, `timezone`; bytes: a stream without batches, the input's schema | `done`; bytes: the output's |
//! | `open` | `batch_rows` | `done` |
//! | `process` | bytes: a stream of one batch | `rows`: a stream of the output's columns and maybe `_in` (list of uint64); `rejected`: `row` uint32, `code`, `message`; `count`: `name`, `n`; then `done` |
//! | `finish` | | as `process` |
//!
//! `error` holds `status` (as in `clinmill_plugin.h`, lower case without prefix), `code`, `message` and maybe `pointer`.
//! What the phases mean, and what neither side may do, is as the header says. The process gets no environment and works in
//! `/`; it is ended, with all that it started, when a call takes too long, on cancellation and at the end of the run. What it writes to
//! standard error is counted, never shown: it may hold values.

mod child;
mod transform;

pub use transform::ProcessTransform;
