//! The loader of pipeline files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| clinmill_tests_abi::fuzz::pipeline(bytes));
