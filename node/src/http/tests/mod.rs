//! The HTTP surface against a node whose consensus is a function.

mod audit;
mod bad_input;
mod client;
mod edges;
mod fake_node;
mod lock_reads;
mod original;
mod original_caches;
mod original_queues;
mod probes;
mod real_locks;
mod scenarios;
mod server;
mod status;
mod v1;
