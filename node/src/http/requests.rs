//! What a connection's parts tell each other about the requests on it: the service, which answers
//! them, and the socket, whose limits depend on them.
//!
//! All of it is written and read by the task of the one connection, but for its place among the idle
//! ones; atomics only because that task moves between threads.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use super::idle::Place;

/// How far the body of the request under way has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum BodyState {
    /// There is more to come.
    Coming,
    /// To its end.
    Read,
    /// Given up before its end.
    Dropped,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Requests {
    /// Heads that were complete so far.
    begun: AtomicU64,
    /// Of these, how many are answered to the last byte.
    ended: AtomicU64,
    /// A [`BodyState`].
    body: AtomicU8,
    /// The last answer refused something: its request may not have been read to the end.
    refused: AtomicBool,
    /// The peer was cut for being slow.
    timed_out: AtomicBool,
    /// A piece of an answer waits for the peer to read.
    writing: AtomicBool,
    /// The connection's own, among those without a request.
    place: Place,
}

impl Requests {
    /// Of a new connection.
    pub(super) fn new(place: Place) -> Self {
        Self {
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            body: AtomicU8::new(BodyState::Coming as u8),
            refused: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            place,
        }
    }

    /// A head is complete.
    pub(super) fn begin(&self) {
        self.place.leave();
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.set_body(BodyState::Coming);
    }

    /// An answer has been handed to the socket, or given up.
    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.place.enter();
    }

    /// Heads that were complete so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// A request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.begun() != self.ended.load(Ordering::Relaxed)
    }

    /// The body of the request under way.
    pub(super) fn body(&self) -> Option<BodyState> {
        const READ: u8 = BodyState::Read as u8;
        const DROPPED: u8 = BodyState::Dropped as u8;
        self.is_busy().then(|| match self.body.load(Ordering::Relaxed) {
            READ => BodyState::Read,
            DROPPED => BodyState::Dropped,
            _ => BodyState::Coming,
        })
    }

    /// How far the body of the request under way has been read.
    pub(super) fn set_body(&self, state: BodyState) {
        self.body.store(state as u8, Ordering::Relaxed);
    }

    /// The answer that is about to be sent refuses its request, or not.
    pub(super) fn set_refused(&self, refused: bool) {
        self.refused.store(refused, Ordering::Relaxed);
    }

    /// The last answer refused something.
    pub(super) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The peer is too slow.
    pub(super) fn set_timed_out(&self) {
        self.timed_out.store(true, Ordering::Relaxed);
    }

    /// The peer was cut for being slow.
    pub(super) fn timed_out(&self) -> bool {
        self.timed_out.load(Ordering::Relaxed)
    }

    /// A piece of an answer waits for the peer to read, or not any more.
    pub(super) fn set_writing(&self, writing: bool) {
        self.writing.store(writing, Ordering::Relaxed);
    }

    /// Nothing is under way, and every answer has left.
    pub(super) fn is_quiet(&self) -> bool {
        !self.is_busy() && !self.writing.load(Ordering::Relaxed)
    }

    /// Resolves when the connection has to make room for another.
    pub(super) async fn asked_to_go(&self) {
        self.place.asked_to_go().await;
    }
}
