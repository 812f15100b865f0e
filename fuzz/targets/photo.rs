#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    clipseg_fuzz_targets::PHOTO.run(input);
});
