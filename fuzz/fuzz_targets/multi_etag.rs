#![no_main]
//! Runs `antiphon_fuzz::multi_etag`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_fuzz::multi_etag(data));
