//! Numbers for requests, so that one which is sent twice has one effect.
//!
//! Problem: a request was sent and nothing came back. It has to be sent again, to any node, without
//! knowing whether the first copy was applied. Idea: each client instance has a random name and counts
//! its requests. A repeat carries the same number; the cluster remembers what became of it. With each
//! request goes the *low-water mark*: the client will never again send a number below it, so those can
//! be forgotten, and a copy of one that is still under way somewhere is refused when it arrives.
//!
//! Rejected: random ids, which the cluster has to keep for a fixed time because it cannot know when a
//! client is done with one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The header that carries it: client, number, low-water mark.
pub(crate) const REQUEST_HEADER: &str = "dsync-request";
/// The header that carries a caller's own name for a request instead.
pub(crate) const KEY_HEADER: &str = "idempotency-key";

/// Counts the requests of one client instance.
#[derive(Debug)]
pub(crate) struct RequestIds {
    client: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// Those that may still be sent, again or at all.
    open: BTreeSet<u64>,
}

/// A request's number. While this lives, the request may be sent again.
#[derive(Debug)]
pub(crate) struct RequestId {
    ids: Arc<RequestIds>,
    sequence: u64,
}

impl RequestIds {
    pub(crate) fn new(client: u64) -> Arc<Self> {
        Arc::new(Self { client, state: Mutex::default() })
    }

    /// The next number.
    pub(crate) fn next(self: &Arc<Self>) -> RequestId {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last += 1;
        let sequence = state.last;
        state.open.insert(sequence);
        RequestId { ids: Arc::clone(self), sequence }
    }
}

impl RequestId {
    /// The header's value as of now.
    pub(crate) fn header(&self) -> String {
        let state = self.ids.state.lock().unwrap_or_else(PoisonError::into_inner);
        let low_water = state.open.first().copied().unwrap_or(self.sequence);
        format!("{:016x}-{}-{low_water}", self.ids.client, self.sequence)
    }

    /// Never again: what is still under way of it may be refused from now on.
    pub(crate) fn close(&self) {
        let mut state = self.ids.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.remove(&self.sequence);
    }
}

impl Drop for RequestId {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_follows_the_oldest_request_that_may_still_be_sent_again() {
        let ids = RequestIds::new(0xab);
        let (first, second) = (ids.next(), ids.next());
        assert_eq!(first.header(), "00000000000000ab-1-1");
        assert_eq!(second.header(), "00000000000000ab-2-1");
        drop(first);
        assert_eq!(second.header(), "00000000000000ab-2-2");
        drop(second);
        assert_eq!(ids.next().header(), "00000000000000ab-3-3");
    }
}
