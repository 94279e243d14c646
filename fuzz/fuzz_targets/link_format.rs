#![no_main]
//! Runs `antiphon_fuzz::link_format`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::link_format(data));
