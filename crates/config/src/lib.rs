//! Manifests to validated core types, every mistake in one run. Pure.
