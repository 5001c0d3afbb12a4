//! Consensus, the shell: the loop that owns the core and carries out what it asks for.

mod driver;
mod founder;
mod founding_clock;
mod inbox;
mod reads;
mod snapshotter;
mod waiters;

pub use driver::{Driver, DriverParts, Stopped};
pub use founder::Founder;
pub use inbox::{DiskEvent, Inbox, SnapshotEvent};
pub use snapshotter::{Snapshotter, load as load_snapshot};
