//! A semaphore: ten jobs on any number of machines, at most three at once.
//!
//! Beside a `dsync local`:
//!
//! ```sh
//! cargo run -p dsync-client --example at_most_three
//! ```

#![allow(clippy::print_stdout, reason = "an example says what it does")]

use std::time::Duration;

use dsync_client::{Client, LockError};

const SERVERS: [&str; 3] =
    ["http://127.0.0.1:5001", "http://127.0.0.1:5002", "http://127.0.0.1:5003"];

#[tokio::main]
async fn main() -> Result<(), LockError> {
    let client = Client::new(SERVERS).map_err(LockError::Call)?;
    let jobs: Vec<_> = (0..10)
        // Jobs work beside each other, so each is an agent of its own.
        .map(|number| tokio::spawn(job(client.agent(), number)))
        .collect();
    for job in jobs {
        job.await.unwrap_or(Ok(()))?;
    }
    Ok(())
}

async fn job(agent: Client, number: u32) -> Result<(), LockError> {
    let slot =
        agent.lock("examples/slots").permits(1, 3).wait(Duration::from_secs(60)).acquire().await?;
    println!("job {number} begins");
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("job {number} ends");
    slot.release().await
}
