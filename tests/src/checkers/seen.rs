//! What one process has shown so far: none of it may go back while it lives.

use dsync_core::raft::{RaftStatus, RoleKind};
use dsync_core::types::{Index, Term};

use super::{Verdict, demand};

/// The cursors at the last look.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    term: Term,
    pub(crate) commit: Index,
    applied: Index,
    pub(crate) leads: bool,
}

impl Seen {
    pub(crate) fn new(status: &RaftStatus) -> Self {
        Self { term: status.term, commit: Index(0), applied: status.applied, leads: false }
    }

    /// Compares with the last look, and remembers this one.
    pub(crate) fn look(&mut self, status: &RaftStatus) -> Verdict {
        const RULE: &str = "terms and cursors never fall";
        demand(status.term >= self.term, RULE, || {
            format!("term {} after {}", status.term, self.term)
        })?;
        demand(status.commit >= self.commit, RULE, || {
            format!("commit {} after {}", status.commit, self.commit)
        })?;
        demand(status.applied >= self.applied, RULE, || {
            format!("applied {} after {}", status.applied, self.applied)
        })?;
        let in_order = status.applied <= status.commit
            && status.commit <= status.last
            && status.durable <= status.last
            && status.log_start <= status.commit.next();
        let in_order = demand(in_order, "cursors stand in order", || format!("{status:?}"));
        self.term = status.term;
        self.commit = status.commit;
        self.applied = status.applied;
        self.leads = status.role == RoleKind::Leader;
        in_order
    }
}
