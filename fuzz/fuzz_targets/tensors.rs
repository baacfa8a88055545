#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resnest_fuzz_checks::tensors(data));
