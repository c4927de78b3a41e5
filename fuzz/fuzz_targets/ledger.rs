//! Any order of events keeps what a decode node is owed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pd_proxy::relay::ledger::check_ledger(data));
