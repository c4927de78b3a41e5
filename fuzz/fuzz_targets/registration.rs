//! Registration frames: any bytes keep the property of [`pd_proxy::registry::check_registration`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pd_proxy::registry::check_registration(data));
