//! The guards of `dsync_client::guard` against real servers: Redis, PostgreSQL, MariaDB, SQLite.
//!
//! `cargo xtask test --suite fencing` installs the servers where it may, and runs them. Each server is
//! started once, by the first test that needs it, on a loopback port with a folder that vanishes, and
//! ends with this process. A server that is missing fails its tests with the name of its package.
//!
//! | file | what it shows |
//! |---|---|
//! | `late_holder` | a holder of a real lock is stopped, its lease ends, the next one writes: it is refused |
//! | `race` | two writers, a thousand times, on every form and isolation level |
//! | `redis_scripts` | the ends of the range, `MULTI`, own scripts, cluster slots, foreign keys |
//! | `sql_rows` | first inserts, NULL, equal tokens, rolled back transactions, columns added late |

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "fencing/database.rs"]
mod database;
#[path = "fencing/drivers.rs"]
mod drivers;
#[path = "fencing/redis_store.rs"]
mod redis_store;
#[path = "fencing/servers.rs"]
mod servers;
#[path = "fencing/store.rs"]
mod store;

#[path = "fencing/late_holder.rs"]
mod late_holder;
#[path = "fencing/race.rs"]
mod race;
#[path = "fencing/redis_scripts.rs"]
mod redis_scripts;
#[path = "fencing/sql_rows.rs"]
mod sql_rows;

use dsync_client::guard::FencingToken;

fn token(number: u64) -> FencingToken {
    FencingToken::try_from(number).unwrap()
}
