//! Queues: who works on what, how often, and what is never lost.
//!
//! # Problem
//!
//! Many producers push messages, many workers take them. Every message has to be worked on at least
//! once, although workers vanish; a worker that was given up must not settle what another works on by
//! now; and nothing may be lost or invented on the way, counts included.
//!
//! # Idea
//!
//! One table, changed only by applied log entries, so every node computes the same deliveries without
//! asking anybody. A message is in one state at a time and moves in one step of the log, also into and out
//! of the dead: those stay in their topic, as its sub-queue. Time is the stamp of the entry that is
//! applied. Read in this order:
//!
//! 1. `table.rs`: what can be asked; topics are made and changed here.
//! 2. `message.rs`, `topic.rs`: the states of a message, drawn; where it stands.
//! 3. `push.rs`, `dedupe.rs`: who comes in.
//! 4. `receive.rs`: who gets what.
//! 5. `settle.rs`: what becomes of a delivery; why a receipt names the delivery, not the message.
//! 6. `deadlines.rs`, `backoff.rs`: what ends by itself, and why only so much per entry.
//! 7. `groups.rs`: one after the other.
//! 8. `dead.rs`: redrive, purge, removal, each a bounded step per entry.
//! 9. `lifecycle.rs`: the only code that moves messages, so that the indexes stay true.
//!
//! `bug.rs` names what is easily got wrong here. `request.rs`, `settings.rs`, `outcome.rs`, `event.rs` and
//! `view.rs` are the words in which the rest of the world speaks with this module.
//!
//! # Cost
//!
//! Everything about one message costs the logarithm of the number of messages; a clone of the table
//! nothing. Whatever could touch many messages does a bounded number per entry and says how to go on.
//!
//! # Caveats
//!
//! At least once: a worker that finished but could not say so in time has its message delivered again. No
//! order outside groups: a message that failed goes behind the others.

mod backoff;
mod bug;
mod checks;
mod dead;
mod deadlines;
mod dedupe;
mod event;
mod groups;
mod invariants;
mod lifecycle;
mod message;
mod outcome;
mod push;
mod receive;
mod records;
mod request;
mod settings;
mod settle;
mod table;
mod topic;
mod turn;
mod view;

#[cfg(test)]
mod oracle_test;
#[cfg(test)]
mod script_test;

pub use backoff::{Backoff, Growth};
pub use bug::Bug;
pub use event::{QueueEvent, QueueWhat};
pub use lifecycle::Usage;
pub use message::{Cause, Content, Death, DeathCause, Failure, Failures};
pub use outcome::{
    PushOutcome, QueueOutcome, QueueRefusal, Received, RedriveOutcome, SettleOutcome,
};
pub use records::{KeyRecord, MessageRecord, QueueCursor, QueueRecord, TopicRecord};
pub use request::{
    BodyKind, Configure, Consumer, DeleteTopic, DeliveryRef, GiveBack, MessageId, ParseNameError,
    Purge, Push, PushItem, QueueOperation, Receipt, Receive, Receiver, ReceiverId, Redrive,
    Redriven, Remove, Settle, SettleItem, SubQueue, TopicId, Verdict,
};
pub use settings::{Expired, TopicChange, TopicSettings};
pub use table::QueueTable;
pub use topic::{Counts, Totals};
pub use turn::{Rules, Turn};
pub use view::{
    DeliveryView, MessageView, Page, QueuesView, Recount, SCANNED_PER_PAGE_MAX, StateKind,
    StateView, TopicView,
};

/// The highest priority; 0 is the lowest, and the default.
pub const PRIORITY_MAX: u8 = 9;
