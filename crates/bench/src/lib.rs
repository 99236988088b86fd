//! Open-loop load generator and overhead measurements.
