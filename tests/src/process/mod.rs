//! Real processes of the real program, real sockets, real signals: what the process suites are made of.
//!
//! The simulator finds the faults of the algorithm; what is looked for here is what only the whole
//! product can get wrong: files, sockets, timers, signals, child processes, the words it says.
//!
//! | what | where |
//! |---|---|
//! | the program under test | [`program`] |
//! | a node, a cluster of three, `dsync local` | [`node`], [`cluster`], [`local`] |
//! | requests, and the lock routes as calls | [`http`], [`locks`] |
//! | the routes that a node says it has | [`description`] |
//! | clients that take and give back locks all the time | [`load`] |
//! | what they were told, and whether it makes sense | [`history`], [`lock_model`], [`linearizability`] |
//! | clients of the whole service, and whether what they held can be | [`service_load`], [`beliefs`] |
//! | clients of the caches, who check every answer | [`cache_load`] |
//! | waiting, ports, numbers | [`until`], [`ports`], [`percentiles`], [`process_table`] |
//!
//! Nothing here sleeps to let something happen: [`until`] asks until it has happened, and a deadline
//! fails the test by the name of what did not. A node ends with the value that stands for it, also
//! when the test panics, and with the test's process if that is killed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test says no")]

pub mod beliefs;
pub mod cache_load;
pub mod cluster;
pub mod description;
pub mod history;
pub mod http;
pub mod linearizability;
pub mod load;
pub mod local;
pub mod lock_model;
pub mod locks;
pub mod node;
pub mod percentiles;
pub mod ports;
pub mod process_table;
pub mod program;
mod seeded;
pub mod service_load;
pub mod until;
