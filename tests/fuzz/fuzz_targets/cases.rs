//! The loader of test files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| clinmill_tests_abi::fuzz::cases(bytes));
