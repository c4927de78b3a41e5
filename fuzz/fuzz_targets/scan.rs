//! A request body is read as `serde_json` reads it, or refused for a reason that we have alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pd_proxy::openai::{admit, check_scan, scan, wants_stream};
use serde::de::IgnoredAny;

fuzz_target!(|data: &[u8]| {
    check_scan(data, is_object);
    if let Ok(scan) = scan(data)
        && admit(&scan, data).is_ok()
    {
        wants_stream(&scan, data);
    }
});

/// `serde_json` skipping a value checks the grammar alone: no limit of depth, of numbers, of surrogates.
fn is_object(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| {
        let begins_as_object = text
            .trim_start_matches([' ', '\t', '\n', '\r'])
            .starts_with('{');
        begins_as_object && serde_json::from_str::<IgnoredAny>(text).is_ok()
    })
}
