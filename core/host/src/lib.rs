//! The side of the plugin boundary that loads: it will open a native library, check the magic, version and digest of
//! its data symbol before any of its code runs, and turn its C table (`clinmill-abi`) into the traits of
//! `clinmill-sdk`. It is the only crate that may open a library, and no other crate depends on how it does.
//!
//! Nothing is loaded yet: all plugins are built in, and the registry that the engine takes is filled by the command
//! line's list. The crate stands here so that the seam does, and so that the layout test guards its arrows.

#![forbid(unsafe_code)]
