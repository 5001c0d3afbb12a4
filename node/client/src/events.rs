//! What happens to locks, as it happens.
//!
//! The answer never ends: one JSON object per line. When the connection breaks, the stream goes on at
//! another node, after the last revision that was read, so that nothing is missed and nothing is
//! shown twice.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::client::Client;
use crate::error::Error;
use crate::nodes::{Call, Failure, Nodes, PauseGrows, Unserved};

/// Longest time for which one answer is read before it is asked for anew.
const STREAM_MAX: Duration = Duration::from_secs(3_600);
/// A line longer than this is not one of ours.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A stream of events; from [`Client::events`].
#[derive(Debug)]
pub struct Events {
    nodes: Arc<Nodes>,
    prefix: String,
    /// The last revision that was read, or from where to begin.
    from: Option<u64>,
    position: usize,
    response: Option<reqwest::Response>,
    unread: Vec<u8>,
}

impl Client {
    /// What happens to the locks whose names begin with `prefix`: from now on, or from after this
    /// revision.
    #[must_use]
    pub fn events(&self, prefix: impl Into<String>, after: Option<u64>) -> Events {
        Events {
            nodes: Arc::clone(&self.nodes),
            prefix: prefix.into(),
            from: after,
            position: self.nodes.preferred(),
            response: None,
            unread: Vec::new(),
        }
    }
}

impl Events {
    /// The next event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the request is refused (a revision that is not kept any more is one reason), or no node
    /// serves it in time.
    pub async fn next(&mut self) -> Result<Value, Error> {
        loop {
            if let Some(event) = self.take_line()? {
                return Ok(event);
            }
            let Some(response) = &mut self.response else {
                self.connect().await?;
                continue;
            };
            match response.chunk().await {
                Ok(Some(bytes)) => self.unread.extend_from_slice(&bytes),
                Ok(None) | Err(_) => self.break_off(),
            }
        }
    }

    /// The next whole line that is an event.
    fn take_line(&mut self) -> Result<Option<Value>, Error> {
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = line.trim_ascii();
            // An empty line says that the connection lives.
            if line.is_empty() {
                continue;
            }
            let event: Value =
                serde_json::from_slice(line).map_err(|error| self.unknown(&error.to_string()))?;
            if let Some(revision) = event["revision"].as_u64() {
                self.from = Some(revision);
            }
            // A bookmark moves the revision, and nothing has happened.
            if event["event"] == "bookmark" || event["what"] == "bookmark" {
                continue;
            }
            return Ok(Some(event));
        }
        if self.unread.len() > LINE_BYTES_MAX {
            return Err(self.unknown("a line that does not end"));
        }
        Ok(None)
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let mut call = Call::get(&["v1", "events"])
            .query("prefix", self.prefix.clone())
            .accept("application/jsonl")
            .timeout(STREAM_MAX);
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
