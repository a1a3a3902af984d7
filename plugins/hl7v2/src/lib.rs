//! The source plugin `hl7v2`: HL7 v2 messages as one record per segment, with the segments of its group in reach.
//!
//! Bytes become messages in [`frame`], text in [`charset`] and [`text`], records in [`core`] by the compiled [`plan`].

pub mod bytes;
pub mod charset;
pub mod config;
pub mod context;
pub mod core;
pub mod envelope;
pub mod error;
pub mod frame;
pub mod glued;
pub mod path;
pub mod plan;
pub mod rows;
pub mod source;
pub mod text;
pub mod version;

pub use config::Hl7Config;
pub use source::Hl7v2;
