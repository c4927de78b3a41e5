//! The verdict on a prefill's event stream does not depend on how it is cut, and agrees with a naive one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pd_proxy::openai::check_sse;

fuzz_target!(|data: &[u8]| check_sse(data));
