//! A simulated vLLM node.
