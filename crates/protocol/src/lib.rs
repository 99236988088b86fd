//! Inference API bodies and streams to facts, and back. Pure.
