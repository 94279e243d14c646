#![no_main]
//! Runs `antiphon_fuzz::credentials`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::credentials(data));
