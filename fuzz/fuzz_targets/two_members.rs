#![no_main]
//! Runs `antiphon_fuzz::two_members`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::two_members(data));
