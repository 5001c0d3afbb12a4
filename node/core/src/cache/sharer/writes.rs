//! Writes of this node's clients.

use super::{SentWrite, Sharer, Waiting};
use crate::cache::coherence::Output;
use crate::cache::message::CacheMessage;
use crate::cache::placement::{Incarnation, Placement};
use crate::cache::value::{Key, Write, WriteOutcome};

impl<P: Placement> Sharer<P> {
    /// Sent once: a second copy could act after somebody else's write that came between.
    pub(super) fn send_write(
        &mut self,
        key: &Key,
        write: Write,
        by: Waiting,
        out: &mut Vec<Output>,
    ) {
        let Some(home) = self.home(key) else { return self.park(key, Some(write), by) };
        let request = self.next_request();
        let sent = SentWrite { home, key: key.clone(), write: write.clone(), by };
        self.writes.insert(request, sent);
        let key = key.clone();
        out.push(Output::send(home.process, CacheMessage::Write { home, request, key, write }));
    }

    pub(super) fn written(
        &mut self,
        home: Incarnation,
        request: u64,
        outcome: WriteOutcome,
        out: &mut Vec<Output>,
    ) {
        if self.writes.get(&request).is_some_and(|sent| sent.home == home)
            && let Some(sent) = self.writes.remove(&request)
        {
            out.push(sent.by.wrote(outcome));
        }
    }

    /// A home that is not in the ring any more will not answer; what it did is gone with it, or not.
    pub(super) fn lose_writes(&mut self, placement: &P, out: &mut Vec<Output>) {
        let homes = placement.homes();
        let lost = self.writes.iter().filter(|(_, sent)| !homes.contains(&sent.home));
        let lost: Vec<(Incarnation, u64)> =
            lost.map(|(request, sent)| (sent.home, *request)).collect();
        for (home, request) in lost {
            self.written(home, request, WriteOutcome::Unknown, out);
        }
    }
}
