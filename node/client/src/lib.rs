//! Typed HTTP client of dsync.
//!
//! A [`Client`] knows the addresses of several nodes and asks them in turn until one answers, so a
//! node that is down, restarting or without a leader is not the caller's concern for as long as the
//! deadline allows:
//!
//! ```no_run
//! # async fn example() -> Result<(), dsync_client::Error> {
//! use dsync_client::{Acquired, Client, Mode};
//!
//! let client = Client::new(["http://127.0.0.1:5001", "http://127.0.0.1:5002"])?;
//! match client.acquire("orders/42", "worker-7", Mode::Exclusive, Some(30_000)).await? {
//!     Acquired::Held(hold) => println!("mine, token {}", hold.token),
//!     Acquired::Waiting(wait) => println!("number {} in the queue", wait.position),
//!     Acquired::Deadlock(cycle) => println!("refused: {cycle:?}"),
//!     Acquired::Refused(refusal) => println!("refused: {}", refusal.message),
//! }
//! client.release("orders/42", "worker-7").await?;
//! # Ok(())
//! # }
//! ```
//!
//! What is repeated, and what is not: see [`Client`]. How a resource refuses a holder that is late: see
//! [`guard`].

mod answer;
mod client;
mod error;
pub mod guard;

pub use answer::{
    Acquired, CycleEdge, Hold, Holder, Lock, Locks, Member, Refusal, Released, Status, StatusLock,
    Wait, Waiter,
};
pub use client::{Client, ClientSettings};
pub use dsync_core::locks::Mode;
pub use dsync_core::raft::RoleKind;
pub use error::{Error, NodeError};
