//! Standing for election: first ask whether it has a chance, then for real.
//!
//! A node that was cut off would come back with a high term and depose a leader that works. So it
//! first holds a pre-vote, which changes nothing anywhere (section 9.6). Only a majority that does not
//! hear a leader, and to whose logs its own compares, lets it raise its term.
//!
//! A candidate's own vote and its requests wait for the disk: if they did not, a crash could forget
//! that term, and a second candidacy in the same term with a shorter log could collect votes that
//! were meant for the first.

use std::collections::BTreeSet;

use super::message::{Ballot, Message};
use super::{Raft, Role};
use crate::quorum;
use crate::types::{NodeId, Term};

/// A candidacy under way.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Which question is being asked.
    ballot: Ballot,
    /// The term it is about: the next one for a pre-vote, the own one otherwise.
    term: Term,
    granted: BTreeSet<NodeId>,
    refused: BTreeSet<NodeId>,
}

impl Raft {
    /// The election timer ran out.
    pub(super) fn stand_for_election(&mut self) {
        self.rearm_election();
        // Whoever led has not been heard for an election time-out, whether this node may stand or not.
        self.leader = None;
        self.reads.fail_remote(&mut self.out.reads);
        if self.may_stand() {
            self.candidacy(Ballot::PreVote);
        } else {
            self.role = Role::Follower;
        }
    }

    /// Only a voter of a founded cluster, and not while the own disk hangs: it could not vote for
    /// itself.
    pub(super) fn may_stand(&self) -> bool {
        let is_voter = self.membership().is_some_and(|m| m.is_voter(self.options.id));
        let disk_hangs = self.disk.oldest_age_ms(self.now) >= self.options.timing.election_min_ms;
        is_voter && self.hard.founded && !disk_hangs
    }

    /// Opens a ballot among the voters of the own configuration.
    pub(super) fn candidacy(&mut self, ballot: Ballot) {
        let term = self.hard.term.next();
        if ballot != Ballot::PreVote {
            self.hard.term = term;
            self.hard.vote = Some(self.options.id);
            self.leader = None;
            self.leader_heard_at = None;
            self.save_hard_state();
        }
        let (granted, refused) = (BTreeSet::new(), BTreeSet::new());
        self.role = Role::Candidate(Candidate { ballot, term, granted, refused });
        self.rearm_election();
        self.ask_for_votes(ballot, term);
        if ballot == Ballot::PreVote {
            self.vote_answered(self.options.id, term, ballot, true);
        }
    }

    fn ask_for_votes(&mut self, ballot: Ballot, term: Term) {
        let Some(membership) = self.membership() else { return };
        let voters: BTreeSet<NodeId> =
            membership.voters.union(&membership.outgoing).copied().collect();
        let request = Message::VoteRequest { ballot, last: self.log.last() };
        for voter in voters {
            if ballot == Ballot::PreVote {
                if voter != self.options.id {
                    let mut envelope = self.envelope(voter, request.clone());
                    envelope.term = term;
                    self.out.send.push(envelope);
                }
            } else {
                // Sealed; the one to ourselves comes back through `own_vote_synced`.
                self.send_after_sync(voter, request.clone());
            }
        }
    }

    /// The own vote of `term` is on disk.
    pub(super) fn own_vote_synced(&mut self, term: Term) {
        if term == self.hard.term
            && self.hard.vote == Some(self.options.id)
            && let Role::Candidate(candidate) = &self.role
        {
            let ballot = candidate.ballot;
            self.vote_answered(self.options.id, term, ballot, true);
        }
    }

    /// Counts an answer, and acts when it decides.
    pub(super) fn vote_answered(
        &mut self,
        from: NodeId,
        term: Term,
        ballot: Ballot,
        granted: bool,
    ) {
        let Role::Candidate(candidate) = &mut self.role else { return };
        let about_this = candidate.ballot == ballot && (!granted || candidate.term == term);
        if !about_this {
            return;
        }
        let side = if granted { &mut candidate.granted } else { &mut candidate.refused };
        side.insert(from);
        if self.carried(|candidate| &candidate.granted) {
            match ballot {
                Ballot::PreVote => self.candidacy(Ballot::Vote),
                Ballot::Vote | Ballot::Transfer => self.become_leader(),
            }
        } else if ballot != Ballot::PreVote && self.carried(|candidate| &candidate.refused) {
            // Refused pre-votes only wait for their time-out: several are asked in one term, and a
            // late refusal of an earlier one must not end this one.
            self.become_follower(self.hard.term, None);
        }
    }

    /// True if those on one side are a majority of the configuration.
    fn carried(&self, side: impl Fn(&Candidate) -> &BTreeSet<NodeId>) -> bool {
        let (Role::Candidate(candidate), Some(membership)) = (&self.role, self.membership()) else {
            return false;
        };
        let side = side(candidate);
        quorum::agreed(&membership.voters, &membership.outgoing, |id| side.contains(&id))
    }

    /// The leader asks this node to take over: no pre-vote, and voters do not protect that leader.
    pub(super) fn timeout_now(&mut self, from: NodeId) {
        if self.leader == Some(from) && self.may_stand() {
            self.reads.fail_remote(&mut self.out.reads);
            self.candidacy(Ballot::Transfer);
        }
    }
}
