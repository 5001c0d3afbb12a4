//! Elections, and the rule that nothing is said before it is on disk.
//!
//! Every message is looked at when it leaves, next to the disk of its sender. That catches a vote that
//! left too early in every run in which there is an election, not only in the rare one in which the
//! machine then loses power and votes again.

use std::collections::BTreeMap;

use dsync_core::raft::{AppendOutcome, Ballot, Envelope, Message};
use dsync_core::types::{NodeId, Term};

use super::{Verdict, demand};
use crate::simulator::Image;

/// Who led, and who voted for whom.
#[derive(Debug, Default)]
pub(crate) struct Ballots {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(Term, NodeId), NodeId>,
}

impl Ballots {
    /// A node leads a term.
    pub(crate) fn leads(&mut self, term: Term, id: NodeId) -> Verdict {
        let first = *self.leaders.entry(term).or_insert(id);
        demand(first == id, "one leader a term", || {
            format!("{first} and {id} both lead term {term}")
        })
    }

    /// How many terms had a leader.
    pub(crate) fn led_terms(&self) -> usize {
        self.leaders.len()
    }

    /// A message leaves.
    pub(crate) fn sent(&mut self, envelope: &Envelope, disk: &Image) -> Verdict {
        match &envelope.message {
            Message::VoteReply { ballot: Ballot::Vote | Ballot::Transfer, granted: true } => {
                self.voted(envelope, disk)
            }
            Message::AppendReply { outcome: AppendOutcome::Matched(index) } => {
                let held = disk.last() >= *index
                    || disk.snapshot.as_ref().is_some_and(|meta| meta.index >= *index)
                    || disk.hard_state.term > envelope.term;
                demand(held, "what is acknowledged is on disk", || {
                    format!(
                        "{} acknowledges {index}, its disk ends at {}",
                        envelope.from,
                        disk.last()
                    )
                })
            }
            Message::VoteRequest { ballot: Ballot::Vote | Ballot::Transfer, .. } => {
                let held = disk.hard_state.term >= envelope.term;
                demand(held, "a candidacy is on disk", || {
                    format!("{} stands in term {}", envelope.from, envelope.term)
                })
            }
            _ => Ok(()),
        }
    }

    fn voted(&mut self, envelope: &Envelope, disk: &Image) -> Verdict {
        let (term, voter, candidate) = (envelope.term, envelope.from, envelope.to);
        let first = *self.votes.entry((term, voter)).or_insert(candidate);
        demand(first == candidate, "one vote a term", || {
            format!("{voter} votes for {first} and for {candidate} in term {term}")
        })?;
        let on_disk = disk.hard_state.term > term
            || (disk.hard_state.term == term && disk.hard_state.vote == Some(candidate));
        demand(on_disk, "a vote is on disk before it leaves", || {
            format!(
                "{voter} votes for {candidate} in term {term}, its disk says {:?}",
                disk.hard_state
            )
        })?;
        demand(disk.last().0 > 0, "an empty disk never votes", || {
            format!("{voter} holds no log and votes for {candidate} in term {term}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(from: u64, to: u64) -> Envelope {
        let message = Message::VoteReply { ballot: Ballot::Vote, granted: true };
        Envelope { from: NodeId(from), to: NodeId(to), term: Term(3), message }
    }

    #[test]
    fn a_second_vote_and_a_vote_that_is_not_on_disk_are_refused() {
        let mut disk = Image::empty(NodeId(1));
        let mut ballots = Ballots::default();
        assert_eq!(
            ballots.sent(&vote(1, 2), &disk).unwrap_err().rule,
            "a vote is on disk before it leaves"
        );
        disk.hard_state.term = Term(4);
        assert_eq!(ballots.sent(&vote(1, 7), &disk).unwrap_err().rule, "one vote a term");
    }

    #[test]
    fn a_second_leader_of_a_term_is_refused() {
        let mut ballots = Ballots::default();
        assert!(ballots.leads(Term(3), NodeId(1)).is_ok());
        assert!(ballots.leads(Term(4), NodeId(2)).is_ok());
        assert!(ballots.leads(Term(3), NodeId(2)).is_err());
    }
}
