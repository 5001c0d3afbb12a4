//! What a leader knows of one other member, and what it has under way to it.

use std::collections::VecDeque;

use super::message::StateHash;
use crate::types::{Index, LocalTime};

/// How the leader sends to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Where the logs meet is unknown: one append at a time, the next after its answer or a while.
    Probe {
        /// When the one under way was sent.
        sent_at: Option<LocalTime>,
    },
    /// The logs meet: a window of appends ahead of their answers.
    Replicate,
    /// The member needs entries that are compacted: it gets the snapshot, piece by piece.
    Snapshot {
        /// Which one.
        index: Index,
        /// The byte asked for last.
        offset: u64,
        /// When.
        sent_at: LocalTime,
    },
}

/// An append under way.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    last: Index,
    bytes: usize,
    sent_at: LocalTime,
}

/// One member. `matched < next` always; in `Probe` nothing is in flight.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) pace: Pace,
    /// The member's log is known to equal ours up to here, synced there.
    pub(super) matched: Index,
    /// Heartbeat round at which `matched` was learnt: what the member says of its disk in answer to a
    /// later round must not lie before it.
    pub(super) matched_round: u64,
    /// First entry to send next.
    pub(super) next: Index,
    /// While a snapshot brings the member up, and until its log has reached ours: the first entry that
    /// it will want behind the snapshot. Compacting it away would send the member from one snapshot to
    /// the next.
    pub(super) wants_from: Option<Index>,
    /// Commit index the member has been told.
    pub(super) told_commit: Index,
    /// Any answer, last.
    pub(super) heard_at: LocalTime,
    /// Highest heartbeat round answered.
    pub(super) acked_round: u64,
    /// What it says of its disk.
    pub(super) sync_age_ms: u64,
    /// What it says of its state.
    pub(super) hash: Option<StateHash>,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
}

impl Progress {
    /// A member of whom a new leader knows nothing: probe from the end.
    pub(super) fn new(next: Index, now: LocalTime) -> Self {
        Self {
            pace: Pace::Probe { sent_at: None },
            matched: Index(0),
            matched_round: 0,
            next,
            wants_from: None,
            told_commit: Index(0),
            heard_at: now,
            acked_round: 0,
            sync_age_ms: 0,
            hash: None,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
        }
    }

    /// Something may be lost: find out again where the logs meet, starting at `next`.
    pub(super) fn probe_from(&mut self, next: Index) {
        self.next = next.max(self.matched.next());
        self.pace = Pace::Probe { sent_at: None };
        self.clear_window();
    }

    /// Sends the snapshot from its first byte.
    pub(super) fn start_snapshot(&mut self, index: Index, now: LocalTime) {
        self.snapshot_at(index, 0, now);
        self.clear_window();
    }

    /// This piece of this snapshot is under way.
    pub(super) fn snapshot_at(&mut self, index: Index, offset: u64, now: LocalTime) {
        self.pace = Pace::Snapshot { index, offset, sent_at: now };
        self.wants_from = Some(index.next());
    }

    /// The member is brought up once it matches up to `near`; until then it wants what comes next.
    pub(super) fn note_brought_up(&mut self, near: Index) {
        self.wants_from = self
            .wants_from
            .filter(|_| self.matched < near)
            .map(|from| from.max(self.matched.next()));
    }

    /// The member matches up to `index`.
    pub(super) fn match_to(&mut self, index: Index, round: u64) {
        if index > self.matched {
            self.matched = index;
            self.matched_round = round;
        }
        self.next = self.next.max(self.matched.next());
        while self.in_flight.front().is_some_and(|sent| sent.last <= index) {
            let bytes = self.in_flight.pop_front().map_or(0, |sent| sent.bytes);
            self.in_flight_bytes -= bytes;
        }
    }

    /// An append that ends with `last` was sent.
    pub(super) fn sent(&mut self, last: Index, bytes: usize, now: LocalTime) {
        self.in_flight.push_back(InFlight { last, bytes, sent_at: now });
        self.in_flight_bytes += bytes;
        self.next = last.next();
    }

    /// True if another append may be sent ahead.
    pub(super) fn window_open(&self, messages: usize, bytes: usize) -> bool {
        self.in_flight.len() < messages && self.in_flight_bytes < bytes
    }

    /// Age of the oldest append without an answer, in milliseconds.
    pub(super) fn oldest_in_flight_ms(&self, now: LocalTime) -> u64 {
        self.in_flight.front().map_or(0, |sent| now.since(sent.sent_at))
    }

    fn clear_window(&mut self) {
        self.in_flight.clear();
        self.in_flight_bytes = 0;
    }
}
