#![no_main]
//! Runs `antiphon_fuzz::oscore_open`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::oscore_open(data));
