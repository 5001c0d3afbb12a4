//! A dsync node: the shell around the pure core.

pub mod audit;
#[cfg(not(feature = "simulated"))]
pub mod bench;
pub mod caches;
#[cfg(not(feature = "simulated"))]
pub mod cli;
pub mod clock;
pub mod config;
pub mod consensus;
#[cfg(not(feature = "simulated"))]
mod descriptors;
pub mod events;
pub mod handle;
pub mod health;
pub mod http;
mod log_port;
#[cfg(all(test, not(feature = "simulated")))]
#[path = "../testing/loopback.rs"]
mod loopback;
pub mod member;
#[cfg(all(test, not(feature = "simulated")))]
#[path = "../testing/members.rs"]
mod members;
pub mod metrics;
pub mod peers;
pub mod queues;
pub mod ring;
#[cfg(not(feature = "simulated"))]
pub mod runtime;
#[cfg(not(feature = "simulated"))]
mod signals;
pub mod storage;
pub mod telemetry;
mod version;
pub mod waits;

pub use version::VERSION;
