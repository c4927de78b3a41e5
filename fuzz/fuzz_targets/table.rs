//! The table of nodes: any operations keep the property of [`pd_proxy::registry::check_table`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pd_proxy::registry::check_table(data));
