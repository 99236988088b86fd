//! The life of one request, shared by both live front doors. Pure.
