#![no_main]
//! Runs `antiphon_fuzz::state_files`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::state_files(data));
