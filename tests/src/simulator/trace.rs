//! The last events of a run, and the hash over all of them by which a replay proves itself.

use std::collections::VecDeque;
use std::fmt;

use dsync_core::machine::{Applied, AppliedEntry};
use dsync_core::raft::Entry;

use super::time::Instant;

/// How many events a report shows.
const KEPT: usize = 60;

/// One event: what happened to whom, with up to four numbers that mean what `kind` says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) step: u64,
    pub(crate) at: Instant,
    pub(crate) node: usize,
    pub(crate) kind: &'static str,
    pub(crate) facts: [u64; 4],
    /// Role, term, last, commit, applied of the node afterwards.
    pub(crate) after: Option<(char, u64, u64, u64, u64)>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>7} {} n{} {:<18} {:?}",
            self.step, self.at, self.node, self.kind, self.facts
        )?;
        match self.after {
            Some((role, term, last, commit, applied)) => {
                write!(f, "  -> {role} term {term} last {last} commit {commit} applied {applied}")
            }
            None => Ok(()),
        }
    }
}

/// The ring of last events and the running hash.
#[derive(Debug)]
pub(crate) struct Trace {
    lines: VecDeque<Line>,
    hash: u64,
    /// Print every event as it happens.
    pub(crate) verbose: bool,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { lines: VecDeque::new(), hash: 0xcbf2_9ce4_8422_2325, verbose }
    }

    #[allow(clippy::print_stdout)]
    pub(crate) fn push(&mut self, line: Line) {
        if self.verbose {
            println!("{line}");
        }
        self.mix(line.at.0);
        self.mix(line.node as u64);
        self.mix(line.kind.len() as u64 ^ u64::from(line.kind.as_bytes()[0]) << 8);
        for fact in line.facts {
            self.mix(fact);
        }
        if let Some((role, term, last, commit, applied)) = line.after {
            self.mix(u64::from(role) ^ term << 8 ^ last << 20 ^ commit << 34 ^ applied << 48);
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Prints what an entry did to locks. Not part of the hash: it follows from the entry.
    #[allow(clippy::print_stdout)]
    pub(crate) fn say(&self, node: usize, entry: &Entry, applied: &AppliedEntry) {
        if !self.verbose {
            return;
        }
        for event in applied.events.iter().filter_map(|record| record.event.lock()) {
            let what = format!("{:?} {}", event.what, event.owner.name);
            let ids = (event.hold, event.wait, event.attachment);
            println!("        n{node} entry {} at {}: {what} {ids:?}", entry.index, entry.stamp.0);
        }
        if let Some((origin, Applied { outcome, index, .. })) = &applied.answer {
            println!("        n{node} entry {}: {origin:?} {outcome:?} as of {index}", entry.index);
        }
    }

    /// Takes a number into the hash that no line shows.
    pub(crate) fn mix(&mut self, value: u64) {
        self.hash = (self.hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.lines.iter().map(ToString::to_string).collect()
    }
}
