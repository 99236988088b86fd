//! Drives the core: clock, tickets, scrapes, health, file discovery, event log.
