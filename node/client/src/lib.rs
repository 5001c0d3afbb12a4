//! Typed HTTP client of dsync.
