//! Queues on Redis: the second store of topics, beside the Raft log.
//!
//! # Problem
//!
//! The log holds what is worth three syncs on three disks, and all of it in memory three times. A backlog of
//! millions of messages belongs into a store that is made for it. But whoever has two stores has two sets of
//! rules, unless something keeps them the same; and Redis forgets: an emptied one looks like an empty queue.
//!
//! # Idea
//!
//! *One script is one step.* Every change of a topic is one Lua script, which Redis runs alone and logs as one
//! transaction. So no node owns a topic: two nodes that serve the same one at the same time cost nothing but
//! time. Read `scripts/topic.lua` first (keys, marker, what is remembered), then `message.lua` and
//! `lifecycle.lua`, then one file for each thing that can be asked.
//!
//! *The rules are those of [`dsync_core::queue`]*, line by line; `tests/stores.rs` plays random histories on
//! both and compares every answer and every view.
//!
//! *Room*: what only waits stands in a list, with 23 bytes of ours; what is delivered, delayed, grouped, ranked
//! or mortal stands in hashes. Batches touch each in one call.
//!
//! *Merging and waiting* (`serve/`): what a node's clients ask at the same time goes into one script.
//!
//! *Once*: a batch has a number ([`Batch`]), and Redis keeps the last one's answer for an hour, so that a node
//! whose connection broke sends the same again.
//!
//! *Not taken for another*: every script first compares the topic's [`Marker`]. An emptied Redis, one that was set
//! back to before the topic, or a node whose log lags, gets an error that says so, and nothing changes.
//!
//! *Receipts* are 128 random bits of the node (64 of its process, 64 of the batch) and the position in the batch:
//! a Redis that was set back never gives one out twice.
//!
//! # Caveats
//!
//! Time is Redis' clock; when it is set back, everything is late by as much, when it is set forward, deliveries end
//! early. A fail-over of Redis Sentinel or Cluster loses acknowledged writes; [`Durability`] says what one Redis
//! promises.

mod answer;
mod call;
mod connection;
mod problem;
mod script;
mod serve;
mod server;
mod store;
mod topic;

pub use answer::{Done, Status, Unreadable};
pub use connection::{Address, BadAddress};
pub use problem::{RedisProblem, StoreError};
pub use script::Clock;
pub use serve::{Delivered, Pushed, ServedTopic, Times};
pub use server::Durability;
pub use store::{RedisStore, Terms};
pub use topic::{Batch, Marker, RedisTopic, Stream};
