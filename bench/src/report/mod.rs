//! Report: what samples amount to, and how it is written down.

pub mod seed_format;
pub mod stats;
