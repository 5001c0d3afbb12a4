//! A dsync node: the shell around the pure core.

pub mod handle;
pub mod health;
pub mod http;
pub mod metrics;
pub mod peers;
