//! Load generator and simulated vLLM node.
pub mod cli;
pub mod load;
pub mod report;
pub mod sim;
