//! What must hold after every step of a run, whatever happened.
//!
//! Each rule is checked where it could first be broken, and against what the simulator knows and no
//! node does: all disks, all logs, all messages. So a broken rule is reported at the step that breaks
//! it, not when its consequence shows minutes later. Every check costs the same however long the log
//! is: it looks at what is new since the last step.
//!
//! | rule | where |
//! |---|---|
//! | one leader a term; one vote a term; nothing said that is not on disk | `ballots.rs` |
//! | log matching, leader completeness, state-machine safety, synced quorum, stamps | `log.rs` |
//! | terms, commit and applied never fall while a process lives | `seen.rs` |
//! | lock table rules, tokens, equal states at equal index | `machine.rs` |
//! | nobody believes in a lease that somebody else has | `leases.rs` |
//! | every answer is what the log says, and newer than all before its call | `witness.rs`, `answers.rs` |
//! | nobody is passed, nobody waits for nothing | `fairness.rs` |
//! | no two clients believe what cannot be; tokens that are told rise | `beliefs.rs` |
//! | recorded histories are linearizable | `history.rs`, `search.rs`, `lock_model.rs` |

mod answers;
mod ballots;
mod beliefs;
mod fairness;
mod history;
mod leases;
mod lock_model;
mod log;
mod machine;
mod search;
mod seen;
mod uptimes;
mod witness;
#[cfg(test)]
mod witness_test;

use dsync_core::machine::{AppliedEntry, Machine};

pub(crate) use answers::Question;
pub(crate) use ballots::Ballots;
pub(crate) use beliefs::Beliefs;
pub(crate) use fairness::Fairness;
pub(crate) use history::{Histories, HistoryStats, RecordId};
pub(crate) use leases::Leases;
pub(crate) use lock_model::{LockOp, LockRet};
pub(crate) use log::Logs;
pub(crate) use machine::Machines;
pub(crate) use seen::Seen;
pub(crate) use uptimes::Uptimes;
pub(crate) use witness::Witness;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

/// What a check says.
pub(crate) type Verdict = Result<(), Broken>;

/// Fails unless `holds`.
pub(crate) fn demand(holds: bool, rule: &'static str, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Broken { rule, what: what() }) }
}

/// The memory of all checks of one run.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    pub(crate) ballots: Ballots,
    pub(crate) logs: Logs,
    pub(crate) machines: Machines,
    pub(crate) leases: Leases,
    pub(crate) histories: Histories,
    pub(crate) witness: Witness,
    pub(crate) fairness: Fairness,
    pub(crate) beliefs: Beliefs,
    pub(crate) uptimes: Uptimes,
}

impl Checkers {
    /// A machine has applied one entry; the first one to do so counts.
    pub(crate) fn happened(&mut self, machine: &Machine, applied: &AppliedEntry) -> Verdict {
        self.witness.applied(machine, applied);
        self.beliefs.applied(applied.index, &applied.events);
        self.fairness.applied(machine, applied.index, &applied.events)
    }
}
