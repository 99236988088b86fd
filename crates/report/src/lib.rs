//! Tables, JSON and statistics from results. Pure.
