#![no_main]
//! Runs `antiphon_fuzz::oscore_option`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::oscore_option(data));
