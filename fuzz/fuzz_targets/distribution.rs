#![no_main]
//! Runs `antiphon_fuzz::distribution`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    antiphon_fuzz::distribution(data);
});
