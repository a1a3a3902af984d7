//! clinmill abi.
