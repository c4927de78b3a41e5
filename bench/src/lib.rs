//! Load generator and simulated vLLM node.
pub mod sim;
