//! A patched body differs from the client's in exactly the values that a prefill must have.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pd_proxy::openai::{Patch, check_patch, scan};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    check_patch(data);
    let Ok(scan) = scan(data) else { return };
    let patch = Patch::prefill(&scan, data);
    let patched = patch.slices(data).collect::<Vec<_>>().concat();
    // A tree has no place for lone surrogates, for numbers beyond a double and for great depth.
    let (Ok(before), Ok(after)) = (tree(data), tree(&patched)) else {
        return;
    };
    assert_eq!(others(before), others(after));
});

fn tree(body: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(body)
}

/// The members that a patch leaves alone.
fn others(mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        for key in [
            "max_tokens",
            "max_completion_tokens",
            "min_tokens",
            "stream",
        ] {
            members.remove(key);
        }
    }
    body
}
