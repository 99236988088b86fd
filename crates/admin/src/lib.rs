//! Health, metrics endpoint and admin JSON.
