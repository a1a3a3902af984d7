//! The header of a library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| clinmill_tests_abi::fuzz::header(bytes));
