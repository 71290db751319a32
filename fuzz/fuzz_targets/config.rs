#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rsync_fuzz::config(data));
