//! Whether an answer is what the state that it speaks of says.

use dsync_core::locks::{
    AcquireOutcome, ForceOutcome, HoldId, HoldOutcome, HoldView, LockItem, LockOperation,
    LockOutcome, LockRefusal, Mode, Owner, RenewAllOutcome, WaitEdge,
};
use dsync_core::machine::{Machine, Operation, Outcome, RequestRefusal};
use dsync_core::types::Index;
use dsync_core::waits::WaitOutcome;

use super::{Verdict, demand};

/// What was asked, as far as its answer depends on it.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) owner: Owner,
    /// `None`: a read of `name`.
    pub(crate) operation: Option<Operation>,
    pub(crate) name: Option<String>,
    /// Everything that was answered before the call is at or before this.
    pub(crate) after: Index,
    /// How often the request has been sent, this call included.
    pub(crate) copies: u32,
    /// Its agent waits for this answer and no other.
    pub(crate) newest: bool,
    /// Its agent has given up other requests, whose copies may come late and take its place over.
    pub(crate) rivals: bool,
}

/// The outcome of a command, against the state behind its entry.
pub(super) fn judge_outcome(question: &Question, outcome: &Outcome, state: &Machine) -> Verdict {
    match outcome {
        Outcome::Lock(LockOutcome::Hold(outcome)) => judge_hold(question, outcome, state),
        Outcome::Lock(LockOutcome::RenewAll(outcome)) => judge_renew_all(question, outcome, state),
        Outcome::Lock(LockOutcome::Force(outcome)) => judge_force(outcome, state),
        Outcome::Lock(LockOutcome::Acquire(outcome)) => match waited(outcome) {
            Some(outcome) => judge_wait(question, &outcome, state),
            None => wrong("a request that waits is not answered yet", question, outcome),
        },
        Outcome::RequestRefused(refusal) => judge_refused_id(question, *refusal),
        _ => wrong("answers fit their requests", question, outcome),
    }
}

/// What a request that may wait was told, against the state that it speaks of.
pub(super) fn judge_wait(question: &Question, said: &WaitOutcome, state: &Machine) -> Verdict {
    match said {
        WaitOutcome::Granted { hold, tokens, remaining_ms } => {
            judge_grant(question, *hold, tokens, *remaining_ms, state)
        }
        // Said again as it was said to the first copy; who holds now may be somebody else.
        WaitOutcome::Held { .. } | WaitOutcome::Deadlock { .. } | WaitOutcome::Refused(_)
            if question.copies > 1 =>
        {
            Ok(())
        }
        WaitOutcome::Held { holders } => {
            let items = question.items(state);
            let holds = |owner: &Owner| items.iter().any(|it| is_holder(state, &it.name, owner));
            demand(holders.iter().all(holds), "who is said to hold does", || {
                format!("{question:?}: {holders:?}")
            })
        }
        WaitOutcome::Deadlock { cycle } => judge_cycle(question, cycle, state),
        WaitOutcome::TimedOut => judge_time_out(question, state),
        WaitOutcome::Superseded => demand(
            !question.is_alone(),
            "only a request that was asked again is superseded",
            || format!("{question:?}"),
        ),
        WaitOutcome::Ended => judge_end(question, state),
        WaitOutcome::Revoked { .. } => {
            let own = question.holds(state);
            demand(own.iter().all(|hold| hold.revoked.is_some()), "a revoked hold is", || {
                format!("{question:?}: {own:?}")
            })
        }
        WaitOutcome::Refused(refusal) => judge_refusal(question, refusal, state),
        WaitOutcome::RequestRefused(refusal) => judge_refused_id(question, *refusal),
        WaitOutcome::Void => Ok(()),
    }
}

/// "You hold it": there is such a hold, it is no claim, and has what was asked for.
fn judge_grant(
    question: &Question,
    id: HoldId,
    tokens: &[u64],
    remaining_ms: Option<u64>,
    state: &Machine,
) -> Verdict {
    const RULE: &str = "who is told of a grant holds";
    let what = |hold: &Option<HoldView>| {
        format!("{question:?} got {id:?} {tokens:?} {remaining_ms:?}; the state has {hold:?}")
    };
    let found = state.locks().hold(id);
    let Some(hold) = &found else { return demand(false, RULE, || what(&found)) };
    demand(hold.owner == question.owner, RULE, || what(&found))?;
    demand(!hold.claim, "a claim is never answered as a hold", || what(&found))?;
    let is: Vec<u64> = hold.items.iter().map(|item| item.token).collect();
    demand(is == tokens, "the tokens that are told are the hold's", || what(&found))?;
    let asked = question.items(state);
    demand(asked.iter().all(|item| has(hold, item)), "a grant is of what was asked for", || {
        what(&found)
    })?;
    // After a wait it is as of the leader's time, which no entry may have reached yet.
    let left = hold.ends_at.map(|end| end.since(state.time()));
    let fits = remaining_ms.is_some() == left.is_some() && remaining_ms <= left;
    demand(fits, "what is told to remain does", || what(&found))
}

fn judge_hold(question: &Question, said: &HoldOutcome, state: &Machine) -> Verdict {
    let Some(id) = question.hold() else {
        return wrong("answers fit their requests", question, said);
    };
    let hold = state.locks().hold(id);
    let what = || format!("{question:?}: {said:?}; the state has {hold:?}");
    let remains = |remaining_ms: &Option<u64>| {
        hold.as_ref().is_some_and(|hold| {
            !hold.claim && *remaining_ms == hold.ends_at.map(|end| end.since(state.time()))
        })
    };
    match said {
        HoldOutcome::Released => demand(hold.is_none(), "what is released has ended", what),
        HoldOutcome::Renewed { remaining_ms } => {
            demand(remains(remaining_ms), "a renewed hold lasts as long as is told", what)
        }
        HoldOutcome::Downgraded { token, remaining_ms } => {
            let name = question.name.as_deref();
            let items = hold.iter().flat_map(|hold| &hold.items);
            let mut shared = items
                .filter(|item| name.is_none_or(|name| item.name == name))
                .filter(|item| item.mode == Mode::Shared && item.token == *token);
            let shared = shared.next().is_some() && remains(remaining_ms);
            demand(shared, "a hold that is downgraded is shared", what)
        }
        HoldOutcome::NotHeld => {
            let gone = hold.as_ref().is_none_or(|hold| hold.claim);
            demand(gone, "a hold that is said to have ended has", what)
        }
        HoldOutcome::Revoked { .. } => demand(hold.is_none(), "a revoked hold ends", what),
        HoldOutcome::Refused(refusal) => judge_refusal(question, refusal, state),
    }
}

/// Exactly the owner's holds are kept.
fn judge_renew_all(question: &Question, said: &RenewAllOutcome, state: &Machine) -> Verdict {
    let holds = state.locks().holds_of(&question.owner).filter(|hold| !hold.claim);
    let kept: Vec<_> =
        holds.map(|hold| (hold.hold, hold.ends_at.map(|end| end.since(state.time())))).collect();
    let gone = |id: &HoldId| state.locks().hold(*id).is_none();
    // A repeat tells of what the first copy kept, and may be late.
    let repeat = question.copies > 1 && said.kept.iter().all(|it| kept.contains(it));
    let fits = (said.kept == kept || repeat || !question.newest)
        && said.lost.iter().chain(&said.revoked).all(gone);
    demand(fits && said.refusal.is_none(), "a renewal of all keeps exactly what is held", || {
        format!("{question:?}: {said:?}; the state has {kept:?}")
    })
}

fn judge_force(said: &ForceOutcome, state: &Machine) -> Verdict {
    let ForceOutcome::Forced { holds, .. } = said else { return Ok(()) };
    let gone = |id: &HoldId| state.locks().hold(*id).is_none_or(|hold| hold.revoked.is_some());
    demand(holds.iter().all(gone), "what is taken away by force has ended, or will", || {
        format!("{holds:?}")
    })
}

/// The cycle begins with the asker, and everybody else in it waits as it says.
fn judge_cycle(question: &Question, cycle: &[(Owner, String)], state: &Machine) -> Verdict {
    let edges: Vec<WaitEdge> = state.locks().graph().collect();
    let waits = |at: usize| {
        let ((waiter, name), (blocker, _)) = (&cycle[at], &cycle[(at + 1) % cycle.len()]);
        // Whom the wish of a refused upgrade would have kept out does not wait for it any more.
        let wished = question.may_upgrade(state, name) && *blocker == question.owner;
        let for_it =
            |it: &WaitEdge| it.waiter == *waiter && it.name == *name && it.blocker == *blocker;
        edges.iter().any(for_it) || (wished && is_waiter(state, name, waiter))
    };
    let asker = cycle.first().is_some_and(|(owner, _)| *owner == question.owner);
    let knot = cycle.len() >= 2 && asker && (1..cycle.len()).all(waits);
    demand(knot, "a deadlock that is told is one", || {
        format!("{question:?}: {cycle:?}; the graph is {edges:?}")
    })
}

/// Who is told that its time is up neither waits nor holds by that request.
fn judge_time_out(question: &Question, state: &Machine) -> Verdict {
    if !question.newest {
        return Ok(());
    }
    let waits = question.waits(state);
    let mut holds = question.holds(state);
    holds.retain(|hold| question.items(state).iter().all(|item| has(hold, item)));
    demand(!waits && holds.is_empty(), "who is told that its time is up has left", || {
        format!("{question:?}: waits {waits}, holds {holds:?}")
    })
}

fn judge_end(question: &Question, state: &Machine) -> Verdict {
    if !question.is_alone() {
        return Ok(());
    }
    let waits = question.waits(state);
    demand(!waits, "who is told that its wait has ended does not wait", || format!("{question:?}"))
}

fn judge_refusal(question: &Question, refusal: &LockRefusal, state: &Machine) -> Verdict {
    let fits = match refusal {
        LockRefusal::Limit { setting, .. } => setting == "lock_waiters_max",
        LockRefusal::AlreadyHeld { name, .. } => {
            is_holder(state, name, &question.owner) || is_waiter(state, name, &question.owner)
        }
        LockRefusal::WaitsInOtherMode => question.waits(state),
        _ => false,
    };
    demand(fits, "only what is wrong is refused", || format!("{question:?}: {refusal:?}"))
}

fn judge_refused_id(question: &Question, refusal: RequestRefusal) -> Verdict {
    let late = refusal == RequestRefusal::Forgotten && !question.newest;
    demand(late, "an id that is in order is not refused", || format!("{question:?}: {refusal:?}"))
}

/// The hold has this, or more.
fn has(hold: &HoldView, item: &LockItem) -> bool {
    let held = hold.items.iter().find(|held| held.name == item.name);
    held.is_some_and(|held| {
        held.permits == item.permits && (held.mode == item.mode || held.mode == Mode::Exclusive)
    })
}

fn wrong(rule: &'static str, question: &Question, said: &impl std::fmt::Debug) -> Verdict {
    demand(false, rule, || format!("{question:?}: {said:?}"))
}

fn waited(outcome: &AcquireOutcome) -> Option<WaitOutcome> {
    Some(match outcome.clone() {
        AcquireOutcome::Granted { hold, tokens, remaining_ms } => {
            WaitOutcome::Granted { hold, tokens, remaining_ms }
        }
        AcquireOutcome::Waiting { .. } => return None,
        AcquireOutcome::Held { holders } => WaitOutcome::Held { holders },
        AcquireOutcome::Deadlock { cycle } => WaitOutcome::Deadlock { cycle },
        AcquireOutcome::Ended => WaitOutcome::Ended,
        AcquireOutcome::Left => WaitOutcome::TimedOut,
        AcquireOutcome::Revoked { reason } => WaitOutcome::Revoked { reason },
        AcquireOutcome::Refused(refusal) => WaitOutcome::Refused(refusal),
    })
}

fn is_holder(state: &Machine, name: &str, owner: &Owner) -> bool {
    let lock = state.locks().get(name);
    lock.is_some_and(|lock| lock.holders.iter().any(|holder| holder.owner == *owner))
}

fn is_waiter(state: &Machine, name: &str, owner: &Owner) -> bool {
    let lock = state.locks().get(name);
    lock.is_some_and(|lock| lock.waiters.iter().any(|waiter| waiter.owner == *owner))
}

impl Question {
    /// No other request, and no other copy of this one, can take over what it has got.
    fn is_alone(&self) -> bool {
        self.newest && self.copies == 1 && !self.rivals
    }

    /// The hold that it names.
    pub(crate) fn hold(&self) -> Option<HoldId> {
        match self.operation.as_ref()? {
            Operation::Lock { operation: LockOperation::ReleaseHold(it), .. }
            | Operation::Lock { operation: LockOperation::Downgrade(it), .. } => Some(it.hold),
            Operation::Lock { operation: LockOperation::Renew(it), .. } => Some(it.hold.hold),
            Operation::Lock { operation: LockOperation::Upgrade(it), .. } => Some(it.hold.hold),
            _ => None,
        }
    }

    /// What a grant has to be of.
    fn items(&self, state: &Machine) -> Vec<LockItem> {
        match &self.operation {
            Some(Operation::Lock { operation: LockOperation::Acquire(ask), .. }) => {
                ask.items.clone()
            }
            Some(Operation::Lock { operation: LockOperation::Upgrade(ask), .. }) => {
                let hold = state.locks().hold(ask.hold.hold);
                let names = ask.hold.name.iter().cloned();
                let exclusive =
                    |name| LockItem { name, mode: Mode::Exclusive, permits: 1, permits_max: 1 };
                let all = hold.map(|hold| hold.items).unwrap_or_default();
                let items: Vec<_> = names.map(exclusive).collect();
                if items.is_empty() {
                    all.into_iter().map(|item| exclusive(item.name)).collect()
                } else {
                    items
                }
            }
            _ => Vec::new(),
        }
    }

    /// It asks for more of a lock that its owner has.
    fn may_upgrade(&self, state: &Machine, name: &str) -> bool {
        let upgrade = matches!(
            self.operation,
            Some(Operation::Lock { operation: LockOperation::Upgrade(_), .. })
        );
        upgrade || is_holder(state, name, &self.owner)
    }

    /// Its owner waits for one of its names.
    fn waits(&self, state: &Machine) -> bool {
        self.items(state).iter().any(|item| is_waiter(state, &item.name, &self.owner))
    }

    /// Its owner's holds with one of its names.
    fn holds(&self, state: &Machine) -> Vec<HoldView> {
        let items = self.items(state);
        let with = |hold: &HoldView| {
            hold.items.iter().any(|held| items.iter().any(|item| item.name == held.name))
        };
        state.locks().holds_of(&self.owner).filter(with).collect()
    }
}
