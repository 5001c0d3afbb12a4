//! One seed, from its number to its report.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use dsync_core::locks;
use dsync_core::raft::Bug;

use super::world::World;

/// In every other seed there are users of the whole lock service beside those of the original routes.
#[must_use]
fn has_lockers(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Decides everything.
    pub seed: u64,
    /// The situation to bend towards, and whether that bug is put back in it.
    pub bug: Option<(Bug, bool)>,
    /// The same, for a mistake of the lock table.
    pub lock_bug: Option<(locks::Bug, bool)>,
    /// Print every event.
    pub verbose: bool,
    /// Overlook rules of how the core works; only what it promises counts.
    pub blind: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Hash over every event: two runs of one seed give the same.
    pub hash: u64,
    /// Events.
    pub steps: u64,
    /// Virtual time, in milliseconds.
    pub virtual_ms: u64,
    /// Machines.
    pub nodes: usize,
    /// Last committed index.
    pub committed: u64,
    /// Terms that had a leader.
    pub terms: usize,
    /// Answers that clients got, grants among them, and failures and time-outs.
    pub answers: [u64; 3],
    /// Recorded operations; histories settled by a witness, searched, and judged by stateright too.
    pub histories: [usize; 4],
    /// Snapshots installed, disks wiped, disks set back, hand-overs.
    pub events: [u64; 4],
    /// Of lockers: deadlocks, waits that timed out, requests taken over, connections closed early.
    pub lockers: [u64; 4],
    /// The rule that broke, if one did.
    pub violation: Option<Violation>,
}

/// A broken rule, with what led there.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule, as a sentence.
    pub rule: &'static str,
    /// Event at which it broke.
    pub step: u64,
    /// Machine, from 0.
    pub node: usize,
    /// What was found.
    pub what: String,
    /// The last events.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "broken at step {} on n{}: {}", self.step, self.node, self.rule)?;
        write!(f, "{}", self.what)
    }
}

impl Run {
    /// A plain run of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, bug: None, lock_bug: None, verbose: false, blind: false }
    }

    /// Runs it. An assertion of the core that fails is a violation like any other.
    #[must_use]
    pub fn run(&self) -> Report {
        let (bug, buggy) = self.bug.map_or((None, false), |(bug, buggy)| (Some(bug), buggy));
        let mut world = World::new(self.seed, bug, buggy, self.verbose);
        world.shared.blind = self.blind;
        if !has_lockers(self.seed) && self.lock_bug.is_none() {
            world.shared.plan.lockers.count = 0;
        }
        if let Some((bug, buggy)) = self.lock_bug {
            world.put_back_in_locks(bug, buggy);
        }
        if let Err(message) = caught(|| world.run()) {
            world.shared.violation("the core's own assertions hold", 0, message);
        }
        self.report(&world)
    }

    fn report(&self, world: &World) -> Report {
        let (shared, stats) = (&world.shared, &world.shared.stats);
        let histories = &shared.histories;
        Report {
            seed: self.seed,
            hash: shared.trace.hash(),
            steps: shared.step,
            virtual_ms: shared.now.0 / 1_000,
            nodes: world.nodes.len(),
            committed: shared.checkers.logs.committed().0,
            terms: shared.checkers.ballots.led_terms(),
            answers: [stats.answers, stats.grants, stats.failures],
            histories: [
                histories.operations,
                histories.witnessed,
                histories.searched,
                histories.judged,
            ],
            events: [stats.installs, stats.wiped, stats.set_back, stats.transfers],
            lockers: [stats.deadlocks, stats.time_outs, stats.superseded, stats.hang_ups],
            violation: shared.failure.as_ref().map(|failure| Violation {
                rule: failure.rule,
                step: shared.step,
                node: failure.node,
                what: failure.what.clone(),
                trace: shared.trace.last_lines(),
            }),
        }
    }
}

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `body`; a panic comes back as its message instead of on the terminal.
fn caught(body: impl FnOnce()) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                MESSAGE.with_borrow_mut(|message| *message = info.to_string());
            } else {
                usual(info);
            }
        }));
    });
    CATCHING.set(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    CATCHING.set(false);
    result.map_err(|_| MESSAGE.take())
}
