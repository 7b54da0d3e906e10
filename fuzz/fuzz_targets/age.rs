#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| plakar_testkit::fuzz::age(data));
