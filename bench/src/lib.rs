//! Load generator and simulated vLLM node.
pub mod load;
pub mod report;
pub mod sim;
