#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| plakar_testkit::fuzz::chunk_page(data));
