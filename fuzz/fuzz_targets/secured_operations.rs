#![no_main]
//! Runs `antiphon_fuzz::secured_operations`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::secured_operations(data));
