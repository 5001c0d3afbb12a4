//! What a node does for others: grants votes, takes appends, answers heartbeats.
//!
//! Who votes is the candidate's business: it asks the voters of *its* configuration. A voter never
//! looks at its own, because it may not have heard of the change that made it a voter.

use super::entry::{Entry, HardState};
use super::message::{AppendOutcome, Ballot, Envelope, Message, Position, StateHash};
use super::{Bug, Raft, Role};
use crate::types::{Index, NodeId, Term};

impl Raft {
    /// True for a vote request that must not even raise the term: this node hears a leader, so the
    /// candidate is the one that is cut off (section 4.2.3). The leader's own choice of a successor
    /// is exempt, and so is a pre-vote, which changes nothing and gets its answer.
    pub(super) fn ignores(&self, envelope: &Envelope) -> bool {
        matches!(envelope.message, Message::VoteRequest { ballot: Ballot::Vote, .. })
            && self.hears_leader()
    }

    /// Grants or refuses a vote: at most one a term, and only to a log that holds everything that may
    /// be committed. The answer to a real vote waits until the vote is on disk.
    pub(super) fn vote_requested(
        &mut self,
        from: NodeId,
        term: Term,
        ballot: Ballot,
        last: Position,
    ) {
        let up_to_date = is_up_to_date(last, self.log.last());
        if ballot == Ballot::PreVote {
            let granted = up_to_date && term > self.hard.term && !self.hears_leader();
            return self.answer_pre_vote(from, term, granted);
        }
        let free = self.hard.vote.is_none_or(|voted_for| voted_for == from);
        let granted = up_to_date && free;
        if granted && self.hard.vote.is_none() {
            self.hard = HardState { vote: Some(from), ..self.hard.clone() };
            self.save_hard_state();
            self.rearm_election();
        }
        let reply = Message::VoteReply { ballot, granted };
        if self.options.has(Bug::VoteBeforeSync) {
            self.send(from, reply);
        } else {
            self.send_after_sync(from, reply);
        }
    }

    /// A granted pre-vote carries the term asked about; a refusal carries ours, so that a candidate
    /// that lives in the past catches up.
    fn answer_pre_vote(&mut self, from: NodeId, term: Term, granted: bool) {
        let message = Message::VoteReply { ballot: Ballot::PreVote, granted };
        let mut envelope = self.envelope(from, message);
        if granted {
            envelope.term = term;
        }
        self.out.send.push(envelope);
    }

    /// True while a leader of this term has been heard within the shortest election time-out, or this
    /// node leads itself.
    fn hears_leader(&self) -> bool {
        let protected_ms = self.options.timing.election_min_ms;
        let heard = |at| self.now.since(at) < protected_ms;
        matches!(self.role, Role::Leader(_))
            || (self.leader.is_some() && self.leader_heard_at.is_some_and(heard))
    }

    /// A message that only the leader of this term sends. False if this node leads that very term: two
    /// leaders in one term mean a copied identity, and nothing of it is believed.
    pub(super) fn follow(&mut self, leader: NodeId) -> bool {
        if matches!(self.role, Role::Leader(_)) {
            return false;
        }
        if self.leader != Some(leader) || !matches!(self.role, Role::Follower) {
            self.become_follower(self.hard.term, Some(leader));
        }
        self.leader_heard_at = Some(self.now);
        self.rearm_election();
        self.found();
        true
    }

    /// Takes entries that follow `prev`, or says where the logs may still agree.
    pub(super) fn append_received(
        &mut self,
        from: NodeId,
        prev: Position,
        entries: Vec<Entry>,
        leader_commit: Index,
    ) {
        if !self.follow(from) {
            return;
        }
        let (prev, entries) = self.skip_committed(prev, entries);
        if self.log.term_at(prev.index) != Some(prev.term) {
            let hint = self.log.last_possible_match(prev.before());
            let outcome = AppendOutcome::Conflict { prev: prev.index, hint };
            return self.send_after_sync(from, Message::AppendReply { outcome });
        }
        let matched = Index(prev.index.0 + entries.len() as u64);
        self.take_entries(entries);
        let outcome = AppendOutcome::Matched(matched);
        self.send_after_sync(from, Message::AppendReply { outcome });
        self.learn_commit(leader_commit.min(matched));
    }

    /// Committed entries are equal everywhere: what the append says up to there needs no check, and
    /// may be compacted away here.
    fn skip_committed(&self, prev: Position, entries: Vec<Entry>) -> (Position, Vec<Entry>) {
        if prev.index >= self.commit {
            return (prev, entries);
        }
        let term = self.log.term_at(self.commit).unwrap_or_default();
        let rest = entries.into_iter().filter(|entry| entry.index > self.commit).collect();
        (Position { index: self.commit, term }, rest)
    }

    /// Appends what is new. An entry that contradicts ours cuts our log there; entries that we have
    /// are left alone, since a doubled or late append must not cut what came after it.
    fn take_entries(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            match self.log.term_at(entry.index) {
                Some(term) if term == entry.term => continue,
                Some(_) => self.cut_log(entry.index),
                None => {}
            }
            self.append_entry(entry);
        }
    }

    /// Cuts uncommitted entries. The disk needs no record of it: the entry that replaces the first
    /// one cut is appended next, and it replaces all behind it there too.
    fn cut_log(&mut self, from: Index) {
        assert!(
            from > self.commit,
            "a committed entry is never replaced ({from} at {})",
            self.commit
        );
        self.log.truncate(from);
        self.configurations.truncate(from);
        self.boots.truncate(from);
        self.disk.truncated(from);
    }

    /// Commit up to `index`, which is known to stand in this log as in the leader's.
    pub(super) fn learn_commit(&mut self, index: Index) {
        let index = index.min(self.log.last().index);
        if index > self.commit {
            self.commit = index;
        }
    }

    /// The leader lives. What it says of the commit index is never beyond what it knows we hold.
    pub(super) fn heartbeat_received(
        &mut self,
        from: NodeId,
        commit: Index,
        round: u64,
        quorum_hash: Option<StateHash>,
    ) {
        if !self.follow(from) {
            return;
        }
        self.learn_commit(commit);
        self.compare_hash(quorum_hash);
        let reply = self.heartbeat_reply(round);
        self.send(from, reply);
    }

    /// Not sealed: it claims nothing that is not on disk already.
    pub(super) fn heartbeat_reply(&self, round: u64) -> Message {
        Message::HeartbeatReply {
            round,
            sync_age_ms: self.disk.oldest_age_ms(self.now),
            synced_end: self.disk.durable(),
            hash: self.hashes.latest(),
            boot: self.options.boot,
        }
    }
}

/// Section 3.6.1: the later last term wins, then the longer log.
fn is_up_to_date(candidate: Position, own: Position) -> bool {
    (candidate.term, candidate.index) >= (own.term, own.index)
}

impl Position {
    /// Where to look next when there is no match at this position.
    fn before(self) -> Self {
        Self { index: self.index.prev(), term: self.term }
    }
}
