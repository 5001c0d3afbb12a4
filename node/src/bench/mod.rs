//! How fast is a lock service? Clients that take and give back locks, and the time that each of them
//! waits.
//!
//! **The problem.** Two mistakes make such figures worthless. A generator that uses more of the machine
//! than the servers measures itself; and a generator that waits for a slow answer before it asks the
//! next question asks least when the service is slowest (coordinated omission), so that one second of
//! standstill shows as one slow request instead of the thousands that would have come meanwhile.
//!
//! **The idea.** One cycle is an acquire and a release, each one request over the client's own
//! connection, which stays open. There are two ways to set the pace ([`Pace`]):
//!
//! - *closed*: each client begins the next cycle when the last one is answered. This shows the rate
//!   that so many clients reach, and what one that waits for nobody gets;
//! - *open*: cycles are planned at a fixed rate, whatever the service does, and their latency is
//!   counted from the planned start. This shows what users see who do not know of each other.
//!
//! **What counts.** A cycle's latency counts if it began (open: was planned) in the window after the
//! warm-up, even if it ends later; the rate is of cycles that ended in the window. A cycle that failed
//! has no latency: it is in the errors, by code.
//!
//! **Rejected**: a task for each request on a runtime with a thread a core. Clients here share one
//! thread by default: a request costs no wake-up of another core, and on a small machine the servers
//! keep the others.
//!
//! **Caveat.** Beside the servers on one machine the generator takes its share of it all the same.
//! Figures of that kind are for comparing two services in turn, not for planning.
//!
//! | what | where |
//! |---|---|
//! | clients, threads, the window | [`plan`](Plan), `load.rs` |
//! | planned starts | `pace.rs` |
//! | what is asked of dsync | `dsync.rs` over `http_connection.rs` |
//! | what is asked of etcd | `etcd.rs` over `grpc.rs` and `protobuf.rs` |
//! | histograms and the report | `measures.rs`, `report.rs` |

mod dsync;
mod etcd;
mod grpc;
mod http_connection;
mod load;
mod measures;
mod pace;
mod plan;
mod protobuf;
mod protocol;
mod report;

pub use load::{BenchError, run};
pub use pace::Pace;
pub use plan::{Api, Plan, Server, ServerError};
pub use report::{Latencies, LatencyReport, Report};

#[cfg(test)]
#[path = "bench_test.rs"]
mod tests;
