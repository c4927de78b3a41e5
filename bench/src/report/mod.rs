//! Report: what samples amount to, and how it is written down.

pub mod figure;
pub mod run_name;
pub mod seed_csv;
pub mod seed_figures;
pub mod seed_format;
pub mod seed_log;
pub mod stats;
pub mod summary;
pub mod trust;
pub mod vllm_format;
