#![no_main]
//! Runs `antiphon_fuzz::message`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::message(data));
