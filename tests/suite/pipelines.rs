//! The repository's pipelines over their own inputs, against counts that the tests' own readers make.

mod command;
mod elr;
mod liver;
mod stenting;
mod tongji;
