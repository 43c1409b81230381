//! The target `stream` of `chamberlain-fuzz`, linked with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chamberlain_fuzz::run("stream", bytes));
