#![no_main]
//! Runs `antiphon_fuzz::block_operations`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::block_operations(data));
