//! A simulated model server with vLLM's protocol.
