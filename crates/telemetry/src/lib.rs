//! Metric families and log fields, one home for every name.
