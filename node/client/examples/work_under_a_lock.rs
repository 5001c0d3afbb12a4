//! One of several machines does the work; when its lock is lost, it stops.
//!
//! Start it twice beside a `dsync local`:
//!
//! ```sh
//! cargo run -p dsync-client --example work_under_a_lock
//! ```

#![allow(clippy::print_stdout, reason = "an example says what it does")]

use std::time::Duration;

use dsync_client::guard::FencingToken;
use dsync_client::{Client, Hold, LockError, Loss};

const SERVERS: [&str; 3] =
    ["http://127.0.0.1:5001", "http://127.0.0.1:5002", "http://127.0.0.1:5003"];
const STEPS: u32 = 10;

#[tokio::main]
async fn main() -> Result<(), LockError> {
    let client = Client::new(SERVERS).map_err(LockError::Call)?;
    println!("{} asks", client.owner());
    let hold = client
        .lock("examples/report")
        .ttl(Duration::from_secs(10))
        .wait(Duration::from_secs(120))
        .acquire()
        .await?;
    println!("held, token {}", hold.token());
    match work(&hold).await {
        Ok(()) => hold.release().await,
        Err(loss) => {
            println!("stopped: {loss}");
            Err(loss.into())
        }
    }
}

/// Stops between two steps, and in the middle of one, when the lock is lost.
async fn work(hold: &Hold) -> Result<(), Loss> {
    let lost = hold.lost();
    tokio::pin!(lost);
    for number in 1..=STEPS {
        // By the clock, so that a step never begins after a pause in which the lease ended.
        hold.check()?;
        tokio::select! {
            () = step(number, hold.token()) => {}
            loss = &mut lost => return Err(loss),
        }
    }
    Ok(())
}

/// What it touches should be told the token, and refuse a lower one than the highest it has seen.
async fn step(number: u32, token: FencingToken) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("step {number} under token {token}");
}
