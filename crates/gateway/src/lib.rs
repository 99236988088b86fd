//! Listeners, upstream connections and streaming of the inference gateway.
