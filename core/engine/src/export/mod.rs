//! A release in the form of a standard model: so far MEDS. Nothing is computed that the release does not hold.

mod events;
mod meds;

pub use meds::{Exported, meds};
