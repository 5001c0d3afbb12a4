//! The process suites: the real program, real sockets, real signals.
//!
//! `cargo xtask test --suite process` builds the program and runs them. Knobs:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `DSYNC_BIN` | the program under test | the `dsync` built beside the tests |
//! | `KILLS` | how often the leader is killed | 50; 500 in a test of the long form |
//! | `DSYNC_KEEP` | keep the folders of a cluster whose test failed | unset |
//!
//! Each suite says in one line what it measured.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../../node/client/testing/output.rs"]
mod output;
#[path = "process/turns.rs"]
mod turns;

#[path = "process/bad_bench.rs"]
mod bad_bench;
#[path = "process/bad_input.rs"]
mod bad_input;
#[path = "process/bad_values.rs"]
mod bad_values;
#[path = "process/caches.rs"]
mod caches;
#[path = "process/crew.rs"]
mod crew;
#[path = "process/deadlock.rs"]
mod deadlock;
#[path = "process/disk.rs"]
mod disk;
#[path = "process/hostile_clients.rs"]
mod hostile_clients;
#[path = "process/kill.rs"]
mod kill;
#[path = "process/leases.rs"]
mod leases;
#[path = "process/local.rs"]
mod local;
#[path = "process/lock_command.rs"]
mod lock_command;
#[path = "process/original_routes.rs"]
mod original_routes;
#[path = "process/pause.rs"]
mod pause;
#[path = "process/queue_command.rs"]
mod queue_command;
#[path = "process/queues.rs"]
mod queues;
#[path = "process/queues_in_redis.rs"]
mod queues_in_redis;
#[path = "../../node/redis_store/testing/server.rs"]
mod redis_server;
#[path = "process/service_faults.rs"]
mod service_faults;
#[path = "process/strangers.rs"]
mod strangers;
#[path = "process/v1_deadlock.rs"]
mod v1_deadlock;
#[path = "process/watchers.rs"]
mod watchers;
