#![no_main]
//! Runs `antiphon_fuzz::option_values`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::option_values(data));
