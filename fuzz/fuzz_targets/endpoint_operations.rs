#![no_main]
//! Runs `antiphon_fuzz::endpoint_operations`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::endpoint_operations(data));
