//! Typed HTTP client of dsync.
//!
//! A [`Client`] knows the addresses of several nodes and asks them in turn until one answers, so a
//! node that is down, restarting or without a leader is not the caller's concern for as long as the
//! deadline allows. What was sent and not answered is sent again under the same number, and has one
//! effect:
//!
//! ```no_run
//! # async fn example() -> Result<(), dsync_client::LockError> {
//! use std::time::Duration;
//!
//! use dsync_client::Client;
//!
//! # fn ship(order: u32, token: dsync_client::guard::FencingToken) {}
//! let client = Client::new(["http://127.0.0.1:5001", "http://127.0.0.1:5002"])
//!     .map_err(dsync_client::LockError::Call)?;
//! let hold = client
//!     .lock("orders/42")
//!     .ttl(Duration::from_secs(30))
//!     .wait(Duration::from_secs(10))
//!     .acquire()
//!     .await?;
//! // Renewed in the background from here on.
//! ship(42, hold.token());
//! hold.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A lock can be lost while it is held. Stop when that happens:
//!
//! ```no_run
//! # async fn work() {}
//! # async fn example(hold: dsync_client::Hold) {
//! tokio::select! {
//!     () = work() => {}
//!     loss = hold.lost() => eprintln!("stopped: {loss}"),
//! }
//! # }
//! ```
//!
//! Several locks, all or none; shared locks; semaphores:
//!
//! ```no_run
//! # async fn example(client: dsync_client::Client) -> Result<(), dsync_client::LockError> {
//! let transfer = client.lock("account/1").and("account/2").acquire().await?;
//! let reader = client.agent().lock("catalogue").shared().acquire().await?;
//! let slot = client.agent().lock("gpu").permits(1, 4).try_acquire().await?;
//! # Ok(())
//! # }
//! ```
//!
//! How a resource refuses a holder that is late: see [`guard`]. Messages and workers: see [`queues`].
//! Cached values: see [`cache`].

mod acquire;
mod alarm;
pub mod cache;
mod client;
mod clock;
mod error;
mod events;
mod force;
mod given_up;
pub mod guard;
mod hold;
mod lease;
mod lock_error;
mod lock_request;
mod long_poll;
mod names;
mod nodes;
pub mod original;
pub mod queues;
mod random;
mod renewal;
mod request_id;
mod status;
mod view;

pub use client::{Client, ClientBuilder, ClientSettings};
pub use clock::BootInstant;
pub use dsync_core::locks::Mode;
pub use dsync_core::raft::RoleKind;
pub use error::{Error, NodeError};
pub use events::Events;
pub use force::{Force, TokenCheck};
pub use hold::{HeldLock, Hold};
pub use lock_error::{CycleEdge, LockError, Loss};
pub use lock_request::LockRequest;
pub use status::{Locks, Member, Status, StatusLock};
pub use view::{Holder, Lock, LockPage, Waiter};

#[cfg(test)]
mod client_test;
#[cfg(test)]
#[path = "../testing/fake_node.rs"]
mod fake_node;
#[cfg(test)]
mod hold_test;
