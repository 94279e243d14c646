#![no_main]
//! Runs `antiphon_fuzz::uri`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::uri(data));
