//! Handing the lead over without an election time-out (section 3.10).
//!
//! The leader stops taking proposals, waits until the successor holds its whole log, and tells it to
//! stand at once. It leads on until it hears of the new term: stepping down first would leave nobody
//! if the word is lost (openraft #1805). If nothing has happened after an election time-out it gives
//! the hand-over up and takes proposals again.

use super::message::Message;
use super::progress::Progress;
use super::{Bug, Raft, Role};
use crate::types::{LocalTime, NodeId};

/// A hand-over under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    to: NodeId,
    until: LocalTime,
    told: bool,
}

impl Raft {
    /// Begins a hand-over, if this node leads and there is somebody to take over.
    pub(super) fn start_transfer(&mut self, to: Option<NodeId>) {
        let Some(to) = to.or_else(|| self.best_successor()) else { return };
        let is_voter = self.membership().is_some_and(|m| m.voters.contains(&to));
        let until = self.now.plus(self.options.timing.election_max_ms);
        let Role::Leader(leader) = &mut self.role else { return };
        if is_voter && leader.members.contains_key(&to) && leader.transfer.is_none() {
            leader.transfer = Some(Transfer { to, until, told: false });
        }
        if self.options.has(Bug::TransferToLagging) {
            self.send(to, Message::TimeoutNow);
            self.step_down();
        }
    }

    /// The voter that was heard lately and holds most of the log.
    fn best_successor(&self) -> Option<NodeId> {
        let (Role::Leader(leader), Some(membership)) = (&self.role, self.membership()) else {
            return None;
        };
        let recent =
            |p: &Progress| self.now.since(p.heard_at) < self.options.timing.election_min_ms;
        let voters = leader.members.iter().filter(|(id, _)| membership.voters.contains(id));
        voters
            .filter(|(_, progress)| recent(progress))
            .max_by_key(|(_, progress)| progress.matched)
            .map(|(id, _)| *id)
    }

    /// Tells the successor as soon as it holds everything.
    pub(super) fn transfer_when_caught_up(&mut self) {
        let last = self.log.last().index;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let caught_up = leader.members.get(&transfer.to).is_some_and(|p| p.matched == last);
        if caught_up && !transfer.told && self.commit >= leader.term_start {
            transfer.told = true;
            let to = transfer.to;
            self.send(to, Message::TimeoutNow);
        }
    }

    /// Gives a hand-over up that has not come about.
    pub(super) fn transfer_tick(&mut self) {
        let now = self.now;
        if let Role::Leader(leader) = &mut self.role {
            leader.transfer = leader.transfer.filter(|transfer| now < transfer.until);
        }
    }
}
