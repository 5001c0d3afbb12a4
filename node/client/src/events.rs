//! What happens to locks, as it happens.
//!
//! The answer never ends: one JSON object per line. Every event has a number, the same on every node.
//! When the connection breaks, or nothing comes for longer than a living node is silent, the stream
//! goes on at another node, after the last number that was read: nothing is missed, and nothing is
//! shown twice.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::client::Client;
use crate::error::Error;
use crate::nodes::{Call, Failure, Nodes, PauseGrows, Unserved};

/// Longest time for which one answer is read before it is asked for anew.
const STREAM_MAX: Duration = Duration::from_secs(3_600);
/// A node says at least every ten seconds that it lives.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A line longer than this is not one of ours.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A stream of events; from [`Client::events`].
#[derive(Debug)]
pub struct Events {
    nodes: Arc<Nodes>,
    prefix: String,
    /// The number to go on from; `None`: with what comes next.
    from: Option<u64>,
    position: usize,
    response: Option<reqwest::Response>,
    unread: Vec<u8>,
    broken_off: bool,
}

impl Client {
    /// What happens to the locks whose names begin with `prefix`: from now on, or from the event
    /// with this number on.
    #[must_use]
    pub fn events(&self, prefix: impl Into<String>, from: Option<u64>) -> Events {
        Events {
            nodes: Arc::clone(&self.nodes),
            prefix: prefix.into(),
            from,
            position: self.nodes.preferred(),
            response: None,
            unread: Vec::new(),
            broken_off: false,
        }
    }
}

impl Events {
    /// The next event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the request is refused (`compacted`: that number is not kept any more), or no node
    /// serves it in time.
    pub async fn next(&mut self) -> Result<Value, Error> {
        loop {
            if let Some(event) = self.take_line()? {
                return Ok(event);
            }
            let Some(response) = &mut self.response else {
                if self.broken_off {
                    // A node that takes every request and ends it at once is no reason to hurry.
                    tokio::time::sleep(PauseGrows::new().next()).await;
                }
                self.connect().await?;
                continue;
            };
            match timeout(SILENCE_MAX, response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.unread.extend_from_slice(&bytes),
                Ok(Ok(None) | Err(_)) | Err(_) => self.break_off(),
            }
        }
    }

    /// The next whole line that is an event.
    fn take_line(&mut self) -> Result<Option<Value>, Error> {
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let said: Value =
                serde_json::from_slice(line).map_err(|error| self.unknown(&error.to_string()))?;
            if let Some(number) = said["number"].as_u64() {
                self.from = Some(number + 1);
                return Ok(Some(said));
            }
            // No event: everything up to a number was seen, or this answer ends and where to go on.
            if let Some(number) = said["bookmark"].as_u64() {
                self.from = Some(number + 1);
            } else if let Some(next) = said["end"]["next"].as_u64() {
                self.from = Some(next);
            }
        }
        if self.unread.len() > LINE_BYTES_MAX {
            return Err(self.unknown("a line that does not end"));
        }
        Ok(None)
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let mut call = Call::get(&["v1", "events"]).accept("application/jsonl").timeout(STREAM_MAX);
        if !self.prefix.is_empty() {
            call = call.query("prefix", self.prefix.clone());
        }
        if let Some(from) = self.from {
            call = call.query("from", from.to_string());
        }
        let patience = self.nodes.settings.deadline;
        let deadline = tokio::time::Instant::now() + patience;
        let (mut pause, mut unserved) = (PauseGrows::new(), Unserved::default());
        loop {
            match self.nodes.stream(self.position, &call).await {
                Ok(response) => {
                    self.response = Some(response);
                    return Ok(());
                }
                Err(Failure::Final(error)) => return Err(*error),
                Err(failure) => drop(unserved.note(failure)),
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(unserved.into_error(&self.nodes, &call, patience));
            }
            self.position += 1;
            tokio::time::sleep(pause.next()).await;
        }
    }

    fn break_off(&mut self) {
        self.response = None;
        self.broken_off = true;
        // Half a line is asked for again.
        self.unread.clear();
        self.position += 1;
    }

    fn unknown(&self, reason: &str) -> Error {
        let urls = self.nodes.urls();
        let node = crate::nodes::name(&urls[self.position % urls.len()]);
        Error::Answer { node, reason: reason.to_owned() }
    }
}
