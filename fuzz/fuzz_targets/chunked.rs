//! Chunked bodies: any bytes keep the property of [`pd_proxy::http1::check_chunked`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pd_proxy::http1::check_chunked(data));
