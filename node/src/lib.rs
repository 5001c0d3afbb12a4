//! A dsync node: the shell around the pure core.

pub mod cli;
pub mod clock;
pub mod config;
pub mod consensus;
pub mod handle;
pub mod health;
pub mod http;
pub mod metrics;
pub mod peers;
pub mod runtime;
pub mod telemetry;
